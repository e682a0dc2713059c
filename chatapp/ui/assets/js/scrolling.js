// Scrolls the messages: follows an answer while the reader is at the end, keeps the position otherwise.
import { open, showEarlier } from "./conversation.js";
import { find, iconButton } from "./dom.js";
import { isMessageScroller, messageScroller } from "./gradio_bridge.js";
import { drawn } from "./renderer.js";
import { t } from "./words.js";

const AT_END = 40; // px from the end that still count as there
const DRAWN_AFTER = 60; // ms: messages.js draws changes in frames of 30 ms

let isAtEnd = true;
let lastScrollTop = 0;

export const followEnd = () => (isAtEnd = true);

export const scrollToEnd = () => {
  const box = messageScroller();
  if (isAtEnd && box) box.scrollTop = box.scrollHeight;
  find("#to-end")?.classList.toggle("shown", !isAtEnd);
};

// Run an action that adds messages above; `draw` completes them. The messages in view stay where they are.
export const keepingPosition = async (action, draw) => {
  const box = messageScroller();
  const fromEnd = box.scrollHeight - box.scrollTop;
  isAtEnd = false;
  await action();
  await new Promise((resolve) => setTimeout(resolve, DRAWN_AFTER));
  draw();
  await drawn();
  box.scrollTop = box.scrollHeight - fromEnd;
};

// Scroll to a message, and unfold its thinking; load earlier messages until it is there.
export const scrollToMessage = async (id, { showThinking = false } = {}) => {
  for (let tries = 0; tries < 100; tries++) {
    const isLoaded = open.entries.some((entry) => entry.id === id); // a row may be left of the same conversation
    const row = isLoaded && find(`#messages [data-id="${CSS.escape(id)}"]`);
    if (row) {
      isAtEnd = false;
      await drawn();
      const thinking = row.querySelector(":scope > .thinking");
      if (showThinking && thinking) thinking.open = true;
      row.scrollIntoView({ block: "center" });
      row.classList.add("found");
      return;
    }
    if (open.entries.length && !isLoaded) {
      if (!open.earlier) return; // in another version of the conversation
      await showEarlier();
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
};

export const start = () => {
  const messages = find("#messages");
  messages.addEventListener(
    "scroll",
    ({ target }) => {
      if (!isMessageScroller(target)) return;
      // New text below does not stop following the answer; only scrolling up does.
      const isNear = target.scrollHeight - target.scrollTop - target.clientHeight < AT_END;
      if (isNear || target.scrollTop < lastScrollTop) isAtEnd = isNear;
      lastScrollTop = target.scrollTop;
      find("#to-end").classList.toggle("shown", !isAtEnd);
    },
    { capture: true, passive: true },
  );
  const toEnd = iconButton("down", t("Scroll to end"), () => (followEnd(), scrollToEnd()), { id: "to-end" });
  find("#composer").prepend(toEnd);
  new ResizeObserver(scrollToEnd).observe(messages);
};
