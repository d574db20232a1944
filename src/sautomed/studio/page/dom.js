// The page's elements. Text only ever enters as text: the names of organs and files come from files.

/** Return the element with an id. */
export const byId = (id) => document.getElementById(id);

/** Make an element with properties, and with children that are elements or text. */
export function make(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role" || name === "scope") made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children);
  return made;
}

/** Make a button that names its key. */
export function keyButton(text, key, onClick, properties = {}) {
  const button = make("button", { type: "button", ...properties });
  label(button, text, key);
  button.addEventListener("click", onClick);
  return button;
}

/** Write a button's text and its key. */
export function label(button, text, key) {
  button.replaceChildren(text, ...(key ? [make("kbd", {}, key)] : []));
}

/** Return a function that does some work with the next frame, once however often it is called before. */
export function oncePerFrame(work) {
  let due = false;
  return () => {
    if (due) return;
    due = true;
    requestAnimationFrame(() => {
      due = false;
      work();
    });
  };
}

/** Show a message at the bottom, which screen readers read out. */
export function say(text, isFault = false) {
  const status = byId("status");
  status.textContent = text;
  status.classList.toggle("fault", isFault);
}
