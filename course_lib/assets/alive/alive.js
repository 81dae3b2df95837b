// What is alive on a page of the course: a button that loads a model, and the app with that model once it is pressed.
// `course site-assets` writes `ALIVE` in front of this: {app: {title, megabytes}}.
(() => {
  const base = new URL("./", document.currentScript.src);

  // The site's own switch of light and dark counts, and the app inside follows it.
  function followColours(frame) {
    const set = () => {
      const { classList } = document.body;
      if (classList.contains("quarto-dark")) frame.style.colorScheme = "dark";
      else if (classList.contains("quarto-light")) frame.style.colorScheme = "light";
    };
    set();
    new MutationObserver(set).observe(document.body, { attributeFilter: ["class"] });
  }

  // As high as the app, which grows with every answer.
  function followHeight(frame) {
    const { body } = frame.contentDocument;
    body.style.minHeight = "0";
    new ResizeObserver(() => { frame.style.height = `${Math.max(body.offsetHeight, 320)}px`; }).observe(body);
  }

  function load(place, name, title) {
    const frame = document.createElement("iframe");
    frame.title = title;
    frame.allow = "camera; clipboard-read";
    frame.referrerPolicy = "no-referrer";
    Object.assign(frame.style, { width: "100%", height: "34rem", border: "0", borderRadius: "12px", display: "block" });
    followColours(frame);
    frame.addEventListener("load", () => { followHeight(frame); frame.focus(); });
    frame.src = new URL(`${name}/index.html`, base);
    place.replaceChildren(frame);
  }

  function offer(place) {
    const name = place.dataset.app;
    if (!Object.hasOwn(ALIVE, name)) return; // The words in the page say what is missing
    const { title, megabytes } = ALIVE[name], button = document.createElement("button"), words = document.createElement("p");
    button.type = "button";
    button.className = "btn btn-primary";
    button.textContent = `Load the model: ${title}`;
    button.addEventListener("click", () => load(place, name, title));
    words.textContent = `About ${megabytes} MB. It runs in this browser, and what you give it stays on this device.`;
    place.replaceChildren(button, words);
  }

  document.querySelectorAll(".alive[data-app]").forEach(offer);
})();
