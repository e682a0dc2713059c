// Creates elements without a library. Text is always inserted as text, never as markup.
export const MESSAGE_TEXT = ".message-text"; // the element of a message's text, which a model wrote

// The first element of the page that matches; never one inside the text of a message.
export const find = (selector, root = document) => {
  const first = root.querySelector(selector);
  if (!first?.closest(MESSAGE_TEXT)) return first;
  return [...root.querySelectorAll(selector)].find((element) => !element.closest(MESSAGE_TEXT)) || null;
};

// h("button", { class: "x", onclick: f }, "text", child, ...); null and false are left out.
export const h = (name, properties = {}, ...children) => {
  const element = document.createElement(name);
  for (const [key, it] of Object.entries(properties)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), it);
    else if (it === true) element.setAttribute(key, "");
    else if (it !== null && it !== undefined && it !== false) element.setAttribute(key, it);
  }
  element.append(
    ...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false),
  );
  return element;
};

// Give `parent` these children: elements and arrays of them, without false ones. Elements that stay are not taken out of
// the page, and the one with the focus is not moved: it would lose it, and a text box what is being composed in it.
export const setChildren = (parent, children) => {
  const now = children.flat(Infinity).filter(Boolean);
  const kept = new Set(now);
  for (const child of [...parent.childNodes]) if (!kept.has(child)) child.remove();
  const at = now.findIndex((child) => child.parentNode === parent && child.contains(document.activeElement));
  const insert = (some, next) => {
    for (const child of some) {
      if (child === next) next = next.nextSibling;
      else parent.insertBefore(child, next);
    }
  };
  insert(at < 0 ? now : now.slice(0, at), parent.firstChild);
  if (at >= 0) insert(now.slice(at + 1), now[at].nextSibling);
};

// Redraw a part of the page. A control that had the focus is replaced by the one with the same name.
export const keepingFocus = (root, redraw) => {
  const focused = root.contains(document.activeElement) && document.activeElement;
  redraw();
  if (!focused || focused.isConnected) return;
  const nameOf = (element) => element.getAttribute("aria-label") || element.textContent;
  const replacement = [...root.querySelectorAll(focused.localName)].find((it) => nameOf(it) === nameOf(focused));
  replacement?.focus({ preventScroll: true });
};

const ICONS = {
  again: "M4 12a8 8 0 1 1 2.3 5.7M4 18v-5h5",
  archive: "M4 8v11h16V8M3 4h18v4H3zM10 12h4",
  book: "M5 4h14v13H8a3 3 0 0 0-3 3zM5 20a3 3 0 0 0 3 1h11v-4M9 8h6",
  check: "M5 13l4 4L19 7",
  clip: "M20 11l-8.5 8.5a5 5 0 0 1-7-7L13 4a3.3 3.3 0 0 1 4.7 4.7l-8.5 8.5a1.7 1.7 0 0 1-2.4-2.4L14.5 7",
  close: "M6 6l12 12M18 6L6 18",
  columns: "M4 5h16v14H4zM12 5v14",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  dots: "M5 12h.01M12 12h.01M19 12h.01",
  down: "M6 9l6 6 6-6",
  download: "M12 4v11M7 11l5 5 5-5M5 20h14",
  edit: "M4 20l1-4L16 5l3 3L8 19zM14 7l3 3",
  file: "M6 3h8l4 4v14H6zM14 3v4h4M9 12h6M9 16h6",
  folder: "M3 6h6l2 2h10v11H3z",
  ghost: "M6 20V11a6 6 0 0 1 12 0v9l-3-2-3 2-3-2zM10 11h.01M14 11h.01",
  image: "M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M9 9h.01",
  link: "M10 14a4 4 0 0 0 6 0l3-3a4 4 0 0 0-6-6l-1 1M14 10a4 4 0 0 0-6 0l-3 3a4 4 0 0 0 6 6l1-1",
  newFolder: "M3 6h6l2 2h10v11H3zM12 11v5M9.5 13.5h5",
  next: "M9 6l6 6-6 6",
  person: "M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM4 21a8 8 0 0 1 16 0",
  pin: "M9 4h6l-1 6 3 3H7l3-3zM12 13v7",
  plus: "M12 5v14M5 12h14",
  previous: "M15 6l-6 6 6 6",
  print: "M7 9V4h10v5M7 17H4V9h16v8h-3M7 14h10v6H7z",
  share: "M12 15V4M8 8l4-4 4 4M5 12v8h14v-8",
  sliders: "M4 7h10M18 7h2M4 17h2M10 17h10M16 5v4M8 15v4",
  thumbDown: "M7 13V4H4v9zM7 13l4 7c2 0 2-2 1.5-5H19l-1.5-11H7",
  thumbUp: "M7 11v9H4v-9zM7 11l4-7c2 0 2 2 1.5 5H19l-1.5 11H7",
  trash: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13",
};
const SVG = "http://www.w3.org/2000/svg";

export const icon = (name) => {
  const svg = document.createElementNS(SVG, "svg");
  const attributes = { viewBox: "0 0 24 24", class: `icon icon-${name}`, "aria-hidden": "true", focusable: "false" };
  for (const [key, it] of Object.entries(attributes)) svg.setAttribute(key, it);
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
};

// A button with an icon only. Its label is its accessible name and its tooltip.
export const iconButton = (name, label, onclick, properties = {}) =>
  h(
    "button",
    { type: "button", class: "icon-only", "aria-label": label, title: label, onclick, ...properties },
    icon(name),
  );

// A menu beneath a button. Items: [icon, label, action], or with an address in place of the action.
export const menu = (button, label, items) => {
  const close = () => list.hidePopover();
  const list = h(
    "div",
    { popover: "auto", role: "menu", class: "menu", "aria-label": label },
    items.filter(Boolean).map(([iconName, words, action]) => {
      const properties = { type: "button", role: "menuitem", tabindex: "-1", onclick: () => (close(), action()) };
      return h("button", properties, icon(iconName), words);
    }),
  );
  openMenu(button, list);
};

// Open a menu, with the arrow keys to move through it.
export const openMenu = (button, list, first = list.firstElementChild) => {
  list.addEventListener("keydown", (event) => {
    const all = [...list.children];
    const at = all.indexOf(document.activeElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    all.at(to % all.length).focus();
  });
  popUp(button, list, first);
};

// Open a panel beneath a button; it closes on any click elsewhere.
export const popUp = (button, panel, first) => {
  panel.addEventListener("toggle", (event) => {
    if (event.newState === "open") return first.focus();
    button.setAttribute("aria-expanded", "false");
    if (!document.activeElement || document.activeElement === document.body) button.focus();
    setTimeout(() => panel.remove());
  });
  button.setAttribute("aria-expanded", "true");
  document.body.append(panel);
  panel.showPopover();
  place(panel, button);
};

// Put a popover beneath (or above) the element that it belongs to, within the window.
export const place = (popover, anchor) => {
  const at = anchor.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = popover;
  const isRight = getComputedStyle(document.documentElement).direction === "rtl";
  const left = isRight ? at.right - width : at.left;
  const below = at.bottom + 4;
  popover.style.left = `${Math.max(8, Math.min(left, innerWidth - width - 8))}px`;
  popover.style.top = `${Math.max(8, below + height < innerHeight - 8 ? below : at.top - height - 4)}px`;
};

// Ask for confirmation in a dialog; resolves to true if the person agreed.
export const confirmed = (question, agree, cancel) =>
  new Promise((resolve) => {
    const dialog = h(
      "dialog",
      { class: "ask", "aria-label": question },
      h("p", {}, question),
      h(
        "form",
        { method: "dialog", class: "row" },
        h("button", { value: "", autofocus: true }, cancel),
        h("button", { value: "yes", class: "danger" }, agree),
      ),
    );
    dialog.addEventListener("close", () => (resolve(dialog.returnValue === "yes"), dialog.remove()));
    document.body.append(dialog);
    dialog.showModal();
  });
