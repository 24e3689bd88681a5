// Building and updating elements; text is always set as text, never as HTML.

/** Make an element with children and properties; a name with a dash, or `role`, is an attribute. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role" || name === "scope" || name === "for") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.filter(child => child !== null));
  return element;
}

/** Set an element's text if it differs, so that an unchanged element keeps the selection. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Set a property if it differs. */
export function setProperty(element, name, value) {
  if (element[name] !== value) element[name] = value;
}

/** Make a chip with a state's name and colour. */
export function chip(text) {
  return make("span", { className: `chip is-${text ?? "unknown"}` }, text ?? "–");
}

/** Make a list of terms and descriptions, without terms that have none. */
export function facts(pairs) {
  const list = make("dl", { className: "facts" });
  for (const [term, description] of pairs) {
    if (description !== null && description !== undefined && description !== "") {
      list.append(make("div", {}, make("dt", {}, term), make("dd", {}, description)));
    }
  }
  return list;
}
