// Building and updating elements; text is only ever set as text.

/** An element with properties, or attributes where the name has a dash or is `role`, and children. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role" || name === "scope" || name === "for") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.filter(child => child !== null));
  return element;
}

/** Set an element's text if it is another; what did not change keeps a person's selection. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Set a property if it is another. */
export function setProperty(element, name, value) {
  if (element[name] !== value) element[name] = value;
}

/** A chip that says a state in words and colour. */
export function chip(text) {
  return make("span", { className: `chip is-${text ?? "unknown"}` }, text ?? "–");
}

/** Terms and descriptions, those without a description left out. */
export function facts(pairs) {
  const list = make("dl", { className: "facts" });
  for (const [term, description] of pairs) {
    if (description !== null && description !== undefined && description !== "") {
      list.append(make("div", {}, make("dt", {}, term), make("dd", {}, description)));
    }
  }
  return list;
}
