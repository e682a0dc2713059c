// Everything in the scripts that depends on Gradio's DOM, events or wire format, for gradio 6.31 (see
// chatapp/ui/gradio_compat.py). tests/browser/test_gradio_bridge.py fails when Gradio changes one of these; each can go
// when Gradio has a public way to do the same. The styles that depend on Gradio's DOM are in css/gradio.css.
import { find } from "./dom.js";

// The message box. Gradio learns of a new text as of one that is typed.
export const messageBox = () => find("#message textarea");
export const messageText = () => messageBox()?.value || "";
export const setMessageText = (text) => {
  messageBox().value = text;
  messageBox().dispatchEvent(new Event("input", { bubbles: true }));
};

// The search box: a textarea or an input, depending on the version. Gradio's own event does not fire for pasted text.
export const searchBox = () => find("#search :is(input, textarea)");

// The sidebar, which is a drawer on a phone. Gradio has no event or method for it, so its button is clicked.
export const sidebarButton = () => find(".sidebar .toggle-button");
export const isSidebarOpen = () => Boolean(find(".sidebar.open"));

// The chatbot: its log, its scrolling element, the list of messages, and one row for each message.
export const messageLog = () => find("#messages [role=log]");
export const messageScroller = () => find("#messages .bubble-wrap");
export const isMessageScroller = (element) => element.matches(".bubble-wrap");
export const messageList = () => find("#messages .message-wrap");
export const messageRows = () => [...messageList().querySelectorAll(":scope > .message-row")];
export const messageRowOf = (element) => element.closest(".message-row");

// A message as the chatbot's `postprocess` would send it: text passes through as it is, indentation included.
export const wireMessage = (role, text) => ({
  role,
  content: [{ type: "text", text }],
  metadata: null,
  options: null,
});

// Give the components new values: each hidden button's event calls a function of main.js and takes what it returns.
export const refreshMessages = () => find("#refresh-messages").click();
export const refreshParameters = () => find("#refresh-parameters").click();

// An update of a component that changes these properties and leaves the others.
export const componentUpdate = (properties) => ({ __type__: "update", ...properties });

// A slider consists of a range input and a number input.
export const sliderInputs = (id) => ({
  range: find(`#${id} input[type=range]`),
  number: find(`#${id} input[type=number]`),
});

// Gradio labels each message with its whole text, which a screen reader would read twice, and gives it `dir="auto"`, so
// the browser searches and restyles the whole text at each update. The blocks within have directions of their own.
export const cleanMessages = () =>
  messageList()
    .querySelectorAll("[data-testid][aria-label]")
    .forEach((element) => (element.removeAttribute("aria-label"), element.removeAttribute("dir")));

// What direction.js marks: components that Gradio forces left to right, the blocks of a rendered text, code and
// mathematics within a line, blocks of code, and text boxes.
export const FORCED_DIRECTION = ".gradio-container .block[dir=ltr]";
export const TEXT_BLOCKS = "#messages .prose > :not([dir], .code_wrap, pre)";
export const INLINE_CODE = "#messages .prose :is(code, .katex):not([dir])";
export const CODE_BLOCKS = "#messages pre:not([tabindex])";
export const TEXT_BOXES = "textarea:not([dir=auto])";

// The language of a block of code, "" if none is named.
export const languageOf = (pre) => /language-([\w+#-]+)/.exec(find("code", pre)?.className || "")?.[1] || "";
