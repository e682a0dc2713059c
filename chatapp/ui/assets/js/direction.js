// Each block of a text takes the direction of its own first letters. Only top-level blocks: `dir` on nested cells would
// break tables apart, and code always reads left to right (see css/gradio.css).
import { h } from "./dom.js";
import { CODE_BLOCKS, FORCED_DIRECTION, INLINE_CODE, languageOf, TEXT_BLOCKS, TEXT_BOXES } from "./gradio_bridge.js";

const RIGHT_TO_LEFT = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]/; // Hebrew, Arabic and their presentation forms

// The direction of a title. `auto` looks at the first letter only, and many Hebrew titles begin with a Latin name.
export const directionOf = (text) => (RIGHT_TO_LEFT.test(text) ? "rtl" : "ltr");
// A text with its direction, or content with the direction of the text.
export const directed = (text, ...content) =>
  h("bdi", { dir: directionOf(text) }, ...(content.length ? content : [text]));

const markIn = (root) => {
  root.querySelectorAll(FORCED_DIRECTION).forEach((element) => element.removeAttribute("dir"));
  // Code that opens a Hebrew line must not decide its direction: `auto` skips an element with a direction of its own.
  root.querySelectorAll(INLINE_CODE).forEach((element) => (element.dir = "ltr"));
  root.querySelectorAll(TEXT_BLOCKS).forEach((element) => (element.dir = "auto"));
  root.querySelectorAll(TEXT_BOXES).forEach((element) => (element.dir = "auto"));
  root.querySelectorAll(CODE_BLOCKS).forEach(markCode);
};

// Show the language's name above code, and let the keyboard scroll wide code.
const markCode = (pre) => {
  pre.tabIndex = 0;
  const language = languageOf(pre);
  if (language) pre.dataset.language = language;
};

export const start = () => {
  markIn(document);
  new MutationObserver((changes) => {
    // From the parent, because the added element may be a block itself. Unchanged messages are skipped.
    for (const parent of new Set(changes.map((change) => change.target)))
      if (parent instanceof Element && parent.isConnected) markIn(parent.parentElement || parent);
  }).observe(document.body, { childList: true, subtree: true });
};
