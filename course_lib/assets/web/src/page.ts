// Finding and copying parts of the page.

export function find<Kind extends Element>(selector: string, within: ParentNode = document): Kind {
  const found = within.querySelector<Kind>(selector);
  if (!found) throw new Error(`The page has no ${selector}`);
  return found;
}

export function copyOf(template: string): HTMLElement {
  return find<HTMLTemplateElement>(template).content.firstElementChild!.cloneNode(true) as HTMLElement;
}
