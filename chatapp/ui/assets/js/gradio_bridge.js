// Everything in the scripts that depends on Gradio's DOM, events or wire format, for gradio 6.31 (see
// chatapp/ui/gradio_compat.py). tests/browser/test_gradio_bridge.py fails when Gradio changes one of these; each can go
// when Gradio has a public way to do the same. The styles that depend on Gradio's DOM are in css/gradio.css.
import { find, h, MESSAGE_TEXT } from "./dom.js";

// The message box. Gradio learns of a new text as of one that is typed.
export const messageBox = () => find("#message textarea");
export const messageText = () => messageBox()?.value || "";
export const setMessageText = (text) => {
  messageBox().value = text;
  messageBox().dispatchEvent(new Event("input", { bubbles: true }));
};

// Send what is in the message box.
export const sendMessage = () => find("#message .submit-button").click();

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

// A message as the chatbot's `postprocess` would send it. The chatbot makes the rows only; message_text.js shows the
// texts, because Gradio's Markdown lets HTML and styles through and takes quadratic time (gradio 6.31, marked 12).
export const wireMessage = (role) => ({
  role,
  content: [{ type: "text", text: "\u200b" }], // Gradio shows no row for an empty text
  metadata: null,
  options: null,
});

// The element of a row that shows its message's text, beside Gradio's own, which css/gradio.css hides. The class gives
// it Gradio's typography. The page of a share link has rows without Gradio.
export const textPlaceOf = (row) => {
  const own = row.querySelector(`:scope > ${MESSAGE_TEXT}`);
  if (own) return own;
  const message = row.querySelector(".message.user, .message.bot");
  return (
    message.querySelector(`:scope > ${MESSAGE_TEXT}`) ||
    message.appendChild(h("div", { class: `prose ${MESSAGE_TEXT.slice(1)}` }))
  );
};
export const hasTextPlace = (row) => Boolean(row.querySelector(`:is(.message.user, .message.bot) > ${MESSAGE_TEXT}`));

// The root of a formula, by KaTeX, which is one of Gradio's files.
export const MATHEMATICS = ".katex";

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

// What direction.js marks: components that Gradio forces left to right, and text boxes.
export const FORCED_DIRECTION = ".gradio-container .block[dir=ltr]";
export const TEXT_BOXES = "textarea:not([dir=auto])";
