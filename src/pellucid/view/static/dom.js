// Building the document. Text from the data reaches it only as text nodes and attribute values, never as markup.

/** The element with the given id. */
const byId = (id) => document.getElementById(id);

/**
 * A new element. `props` are attributes; `style` is an object of CSS properties, `on` an object of listeners;
 * null, undefined and false leave an attribute out. Children that are strings or numbers become text.
 */
function h(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "on") for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
    else if (key === "style") for (const [name, text] of Object.entries(value)) node.style.setProperty(name, text);
    else node.setAttribute(key, value === true ? "" : String(value));
  }
  append(node, children);
  return node;
}

/** A new SVG element. */
function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, String(value));
  node.append(...children);
  return node;
}

/** Append nodes and texts, arrays of them included; null, undefined and false are skipped. */
function append(node, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child instanceof Node ? child : String(child));
  }
}

/** Replace what is in `node`. */
function fill(node, ...children) {
  node.replaceChildren();
  append(node, children);
}

/** Say `text` to a screen reader. */
function announce(text) {
  byId("announce").textContent = text;
}

/** Copy `text`; where the clipboard is closed to pages, through a selection. */
async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const box = h("textarea", { class: "sr-only" });
    box.value = text;
    document.body.append(box);
    box.select();
    document.execCommand("copy");
    box.remove();
  }
}

/** A button that copies `text` and says so. */
function copyButton(text, what, label = "Copy") {
  const button = h("button", { type: "button", class: "copy", "aria-label": `Copy ${what}`, title: `Copy ${what}` }, label);
  button.addEventListener("click", async () => {
    await copyText(text);
    button.textContent = "Copied";
    announce(`Copied ${what}`);
    setTimeout(() => { button.textContent = label; }, 1500);
  });
  return button;
}
