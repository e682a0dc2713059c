// Keyboard shortcuts.
import { isWriting, stop } from "./conversation.js";
import { find } from "./dom.js";
import { isSidebarOpen, messageBox, searchBox, sidebarButton } from "./gradio_bridge.js";
import { openConversation } from "./navigation.js";
import { t } from "./words.js";

const isMac = /Mac|iPhone|iPad/.test(navigator.platform);
const MAIN = isMac ? "⌘" : "Ctrl";
const SHIFT = isMac ? "⇧" : "Shift";
export const SHORTCUTS = [
  [`${MAIN}+${SHIFT}+O`, t("New chat")],
  [`${MAIN}+K`, t("Search")],
  ["/", t("Go to message box")],
  ["Enter", t("Send")],
  [`${SHIFT}+Enter`, t("New line")],
  ["Esc", t("Stop the answer")],
];

const isTyping = (target) => target.closest?.("input, textarea, select, [contenteditable]");

export const start = () =>
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented) return; // a field has used it, as Escape to leave an edit
    const main = isMac ? event.metaKey : event.ctrlKey;
    const key = event.code === "KeyO" ? "o" : event.code === "KeyK" ? "k" : event.key; // on a Hebrew keyboard too
    if (main && event.shiftKey && key === "o") openConversation("");
    else if (main && !event.shiftKey && key === "k") openSearch();
    else if (event.key === "/" && !isTyping(event.target)) messageBox().focus();
    else if (event.key === "Escape" && isWriting() && !find("dialog[open], :popover-open, .edit")) stop();
    else return;
    event.preventDefault();
  });

const openSearch = () => {
  if (!isSidebarOpen()) sidebarButton()?.click();
  searchBox().focus();
};
