// Notices above the message box, and the toast that reports an action and can undo it.
import { find, h, iconButton } from "./dom.js";
import { t } from "./words.js";

let refusal, lasting, standing, toast;

export const start = () => {
  refusal = h("div", { id: "refusal", role: "alert" });
  lasting = h("div", { id: "lasting", role: "status" });
  standing = h("div", { id: "standing", role: "status" });
  toast = h("div", { id: "toast", role: "status" });
  find("#notices").append(lasting, standing, refusal);
  document.body.append(toast);
};

// Show an error until the next attempt; "" removes it. Actions: [label, function].
export const say = (words, ...actions) => {
  refusal.replaceChildren(...(words ? [words, ...buttons(actions, refusal)] : []));
};

const buttons = (actions, place) =>
  actions
    .filter(Boolean)
    .map(([label, action]) =>
      h("button", { type: "button", class: "link", onclick: () => (place.replaceChildren(), action()) }, label),
    );

// Show the notices about models and the history: each {words, actions}.
let shown = "";
export const last = (notices) => {
  const now = JSON.stringify(notices.map(({ words, actions = [] }) => [words, actions.map(([label]) => label)]));
  if (now === shown) return; // a screen reader would repeat it
  shown = now;
  lasting.replaceChildren(
    ...notices.map(({ words, actions = [] }) =>
      h("div", { class: "notice" }, words, buttons(actions, h("i"))),
    ),
  );
};

// Show a notice about the account until it is dealt with; "" removes it. Actions: [label, function], or a link.
export const stand = (words, ...actions) =>
  standing.replaceChildren(
    ...(words
      ? [
          h(
            "div",
            { class: "notice" },
            words,
            " ",
            actions.map((action) => (action instanceof Element ? action : buttons([action], standing))),
          ),
        ]
      : []),
  );

let timer = 0;
// Show a toast that reports an action, with Undo while that is possible.
export const tell = (words, { seconds = 6, undo } = {}) => {
  clearTimeout(timer);
  const close = () => toast.replaceChildren();
  toast.replaceChildren(
    h(
      "div",
      { class: "toast" },
      h("span", {}, words),
      undo && h("button", { type: "button", class: "link", onclick: () => (close(), undo()) }, t("Undo")),
      iconButton("close", t("Close"), close),
    ),
  );
  timer = setTimeout(close, seconds * 1000);
};

// Run an action; show its error, if the server or the connection caused one.
export const attempt = async (action) => {
  try {
    return await action();
  } catch (error) {
    if (!error.status && error.status !== 0) throw error;
    say(error.message);
    return null;
  }
};
