// Keeps Gradio's components in the page's direction, and gives each text box the direction of what is typed. The blocks
// of messages get theirs when they are rendered (markdown.js).
import { h, MESSAGE_TEXT } from "./dom.js";
import { FORCED_DIRECTION, TEXT_BOXES } from "./gradio_bridge.js";
import { directionOf } from "./text_direction.js";

// A text with its direction, or content with the direction of the text.
export const directed = (text, ...content) =>
  h("bdi", { dir: directionOf(text) }, ...(content.length ? content : [text]));

const markIn = (root) => {
  root.querySelectorAll(FORCED_DIRECTION).forEach((element) => element.removeAttribute("dir"));
  root.querySelectorAll(TEXT_BOXES).forEach((element) => (element.dir = "auto"));
};

export const start = () => {
  markIn(document);
  new MutationObserver((changes) => {
    // From the parent, because the added element may be a block itself. Texts of messages have neither.
    for (const parent of new Set(changes.map((change) => change.target)))
      if (parent instanceof Element && parent.isConnected && !parent.closest(MESSAGE_TEXT))
        markIn(parent.parentElement || parent);
  }).observe(document.body, { childList: true, subtree: true });
};
