// What has to be said: above the box what concerns sending, at the edge what was done and can be undone.
import { find, h, iconButton } from "./dom.js";
import { t } from "./words.js";

let refusal, lasting, standing, toast;

export const start = () => {
  refusal = h("div", { id: "refusal", role: "alert", dir: "auto" });
  lasting = h("div", { id: "lasting", role: "status" });
  standing = h("div", { id: "standing", role: "status" });
  toast = h("div", { id: "toast", role: "status" });
  find("#notices").append(lasting, standing, refusal);
  document.body.append(toast);
};

// Say why something cannot be done, until the next try; "" takes it back. Actions: [label, function].
export const say = (words, ...actions) => {
  refusal.replaceChildren(...(words ? [words, ...buttons(actions, refusal)] : []));
};

const buttons = (actions, place) =>
  actions
    .filter(Boolean)
    .map(([label, action]) =>
      h("button", { type: "button", class: "link", onclick: () => (place.replaceChildren(), action()) }, label),
    );

// What stays true for a while: notices about models and the history. Each is {words, actions}.
let shown = "";
export const last = (notices) => {
  const now = JSON.stringify(notices.map(({ words, actions = [] }) => [words, actions.map(([label]) => label)]));
  if (now === shown) return; // a screen reader would say it again
  shown = now;
  lasting.replaceChildren(
    ...notices.map(({ words, actions = [] }) =>
      h("div", { class: "notice", dir: "auto" }, words, buttons(actions, h("i"))),
    ),
  );
};

// What concerns the person, until it is settled; "" takes it back. Actions: [label, function], or a link.
export const stand = (words, ...actions) =>
  standing.replaceChildren(
    ...(words
      ? [
          h(
            "div",
            { class: "notice", dir: "auto" },
            words,
            " ",
            actions.map((action) => (action instanceof Element ? action : buttons([action], standing))),
          ),
        ]
      : []),
  );

let timer = 0;
// Tell what was done, with a way back for as long as there is one.
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

// Run what may be refused, and say so where it is.
export const attempt = async (action) => {
  try {
    return await action();
  } catch (error) {
    if (!error.status && error.status !== 0) throw error;
    say(error.message);
    return null;
  }
};
