// Finding and copying parts of the page.
export function find(selector, within = document) {
    const found = within.querySelector(selector);
    if (!found)
        throw new Error(`The page has no ${selector}`);
    return found;
}
export function copyOf(template) {
    return find(template).content.firstElementChild.cloneNode(true);
}
