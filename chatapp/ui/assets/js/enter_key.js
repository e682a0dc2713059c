// The Enter key in a text box with several lines: it sends, or makes a new line as on a phone, whose keyboard has no
// Shift+Enter. Ctrl+Enter sends in any case.
import { stored } from "./browser_storage.js";
import { messageBox, sendMessage } from "./gradio_bridge.js";

export const SETTING = "enter-key"; // "" for by the device, "send" or "line"

// What the last key came from, on a device with a touch screen. Keys of an on-screen keyboard have no code on Android;
// those below are on none (an iPad's has no keys for them).
let keyboard = ""; // "screen" or "hardware"
const HARDWARE_KEYS = /^(Tab|Escape|Arrow|Control|Meta|Alt|Home|End|Page|Delete|F\d)/;

const isTouch = () => matchMedia("(pointer: coarse)").matches;
const hasKeyboard = () => keyboard === "hardware" || (!keyboard && matchMedia("(any-pointer: fine)").matches);
const sends = () => {
  const setting = stored("local", SETTING);
  return setting ? setting === "send" : !isTouch() || hasKeyboard();
};

const isShortcut = (event) => event.ctrlKey || event.metaKey;
// Whether a press of Enter sends; else it makes a new line.
export const enterSends = (event) => isShortcut(event) || (!event.shiftKey && sends());
export const shortcutsOfEnter = (main, shift) => (sends() ? ["Enter", `${shift}+Enter`] : [`${main}+Enter`, "Enter"]);

const isComposing = (event) => event.isComposing || event.keyCode === 229;

const watch = (event) => {
  if (!event.code) keyboard = "screen";
  else if (HARDWARE_KEYS.test(event.code)) keyboard = "hardware";
  // A key that ends a composition belongs to the input method, whatever field it is in. Safari sends it after the
  // composition, so that only its key code tells.
  if (isComposing(event) && ["Enter", "Escape"].includes(event.key)) event.stopImmediatePropagation();
  else if (event.key === "Enter" && event.target === messageBox()) enterInMessageBox(event);
  updateHint();
};

const watchPress = (event) => event.key === "Enter" && event.target === messageBox() && enterInMessageBox(event);

const enterInMessageBox = (event) => {
  if (isShortcut(event)) {
    event.preventDefault(); // Gradio knows no shortcut, and not each browser sends the keypress that it waits for
    if (event.type === "keydown") sendMessage();
  } else if (!enterSends(event)) event.stopImmediatePropagation(); // Gradio would send; the browser makes the line
};

// What a phone's keyboard writes on its Enter key.
export const updateHint = () => messageBox()?.setAttribute("enterkeyhint", sends() ? "send" : "enter");

export const start = () => {
  addEventListener("keydown", watch, { capture: true });
  addEventListener("keypress", watchPress, { capture: true });
  updateHint();
};
