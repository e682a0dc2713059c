// Keyboard shortcuts.
import { isWriting, stop } from "./conversation.js";
import { find } from "./dom.js";
import { shortcutsOfEnter } from "./enter_key.js";
import { isSidebarOpen, messageBox, searchBox, sidebarButton } from "./gradio_bridge.js";
import { openConversation } from "./navigation.js";
import { printConversation } from "./printing.js";
import { t } from "./words.js";

const isMac = /Mac|iPhone|iPad/.test(navigator.platform);
const MAIN = isMac ? "⌘" : "Ctrl";
const SHIFT = isMac ? "⇧" : "Shift";
export const shortcuts = () => {
  const [send, line] = shortcutsOfEnter(MAIN, SHIFT);
  return [
    [`${MAIN}+${SHIFT}+O`, t("New chat")],
    [`${MAIN}+K`, t("Search")],
    ["/", t("Go to message box")],
    [send, t("Send")],
    [line, t("New line")],
    [`${MAIN}+P`, t("Print or save as PDF")],
    ["Esc", t("Stop the answer")],
  ];
};

const KEYS = { KeyO: "o", KeyK: "k", KeyP: "p" };
const isTyping = (target) => target.closest?.("input, textarea, select, [contenteditable]");

export const start = () =>
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented) return; // a field has used it, as Escape to leave an edit
    const main = isMac ? event.metaKey : event.ctrlKey;
    const key = KEYS[event.code] || event.key; // on a Hebrew keyboard too
    if (main && event.shiftKey && key === "o") openConversation("");
    else if (main && !event.shiftKey && key === "k") openSearch();
    else if (main && !event.shiftKey && key === "p") printConversation();
    else if (event.key === "/" && !isTyping(event.target)) messageBox().focus();
    else if (event.key === "Escape" && isWriting() && !find("dialog[open], :popover-open, .edit")) stop();
    else return;
    event.preventDefault();
  });

const openSearch = () => {
  if (!isSidebarOpen()) sidebarButton()?.click();
  searchBox().focus();
};
