// Notices above the message box, and the toast that reports an action and can undo it.
import { find, h, iconButton } from "./dom.js";
import { t } from "./words.js";

let errorBox, statusNotices, accountNotice, toast;

export const start = () => {
  errorBox = h("div", { id: "refusal", role: "alert" });
  statusNotices = h("div", { id: "status-notices", role: "status" });
  accountNotice = h("div", { id: "account-notice", role: "status" });
  toast = h("div", { id: "toast", role: "status" });
  find("#notices").append(statusNotices, accountNotice, errorBox);
  document.body.append(toast);
};

// Show an error until the next attempt; "" removes it.
export const showError = (words) => (errorBox.textContent = words);

// Buttons of a notice: each [label, function]. A click empties `box`.
const buttons = (actions, box) =>
  actions.map(([label, action]) =>
    h("button", { type: "button", class: "link", onclick: () => (box.replaceChildren(), action()) }, label),
  );

// Show the notices about models and the history: each {words, actions}.
let shownNotices = "";
export const showNotices = (notices) => {
  const now = JSON.stringify(notices.map(({ words, actions = [] }) => [words, actions.map(([label]) => label)]));
  if (now === shownNotices) return; // a screen reader would repeat it
  shownNotices = now;
  statusNotices.replaceChildren(
    ...notices.map(({ words, actions = [] }) => h("div", { class: "notice" }, words, " ", buttons(actions, h("i")))),
  );
};

// Show a notice about the account until it is dealt with; "" removes it. Actions: [label, function], or a link.
export const showAccountNotice = (words, ...actions) =>
  accountNotice.replaceChildren(
    ...(words
      ? [
          h(
            "div",
            { class: "notice" },
            words,
            " ",
            actions.map((action) => (action instanceof Element ? action : buttons([action], accountNotice))),
          ),
        ]
      : []),
  );

let timer = 0;
// Show a toast that reports an action, with Undo while that is possible.
export const showToast = (words, { seconds = 6, undo } = {}) => {
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
    showError(error.message);
    return null;
  }
};
