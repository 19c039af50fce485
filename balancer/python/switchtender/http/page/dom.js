// Elements and what they say, written only where it changed. Text from outside becomes text and nothing else: there is
// no markup made of strings on this page. Knows nothing of what is shown.

const SVG = "http://www.w3.org/2000/svg";

/** The element of the page with this id. */
export const byId = (id) => document.getElementById(id);

/** A new element: `properties` are its class, its text and its attributes; then its children. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "text") element.textContent = value;
    else if (value !== null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** One of the page's icons, for the eye alone: what it means stands beside it as text. */
export function icon(name) {
  const drawing = document.createElementNS(SVG, "svg");
  drawing.setAttribute("class", "icon");
  drawing.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  drawing.append(use);
  point(drawing, name);
  return drawing;
}

/** Let an icon be another. */
export function point(drawing, name) {
  attribute(drawing.firstElementChild, "href", `#icon-${name}`);
}

/** Let an element that holds text alone say this. */
export function write(element, text) {
  const standing = element.firstChild;
  if (standing === null) element.append(text);
  else if (standing.data !== text) standing.data = text;
}

/** Set an attribute; null takes it away. */
export function attribute(element, name, value) {
  if (value === null) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

/** Show or hide an element. */
export function show(element, visible) {
  if (element.hidden === visible) element.hidden = !visible;
}

/** Let `parent` hold exactly these elements in this order, moving no more than needed: what is moved loses its focus. */
export function arrange(parent, wanted) {
  const staying = new Set(wanted);
  for (const child of [...parent.children]) if (!staying.has(child)) child.remove();
  let at = parent.firstElementChild;
  for (const element of wanted) {
    if (element === at) at = at.nextElementSibling;
    else parent.insertBefore(element, at);
  }
}
