// Copies text, also where the browser's clipboard is missing, needs HTTPS or is blocked.
import { h } from "./dom.js";
import { showToast } from "./notices.js";
import { t } from "./words.js";

const nativeClipboard = () => {
  try {
    return navigator.clipboard;
  } catch {
    return undefined; // blocked
  }
};
const clipboard = nativeClipboard();
const writeText = clipboard?.writeText?.bind(clipboard);

const copyByCommand = (text) => {
  const focused = document.activeElement;
  const box = h("textarea", { class: "unseen" }, text);
  document.body.append(box);
  box.select();
  try {
    return document.execCommand("copy");
  } catch {
    return false;
  } finally {
    box.remove();
    focused?.focus();
  }
};

const copied = (text) =>
  Promise.resolve()
    .then(() => writeText(text))
    .then(
      () => true,
      () => copyByCommand(text),
    );

// Copy a text and show `words`, or that it did not work.
export const copyText = async (text, words = "", seconds = 6) => {
  if (!(await copied(text))) showToast(t("The browser does not allow copying here. Select the text and copy it."));
  else if (words) showToast(words, { seconds });
};

// Gradio's copy buttons use the browser's clipboard only.
export const start = () => {
  const own = { writeText: (text) => copyText(text) };
  try {
    if (clipboard) Object.assign(clipboard, own);
    else Object.defineProperty(navigator, "clipboard", { value: own, configurable: true });
  } catch {} // it cannot be replaced
};
