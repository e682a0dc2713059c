// Adds to each row of Gradio's chatbot: the text, the author, images, and the footer.
import { loadModule, pathOf } from "./api.js";
import { isWriting, onChange, open, showEarlier } from "./conversation.js";
import { find, h, keepingFocus } from "./dom.js";
import { hasTextPlace, messageList, messageRows, refreshMessages, wireMessage } from "./gradio_bridge.js";
import { answerFooter, markWaiting, questionFooter } from "./message_actions.js";
import { placeForms } from "./message_editing.js";
import { drawText } from "./message_text.js";
import * as models from "./models.js";
import { prepare } from "./renderer.js";
import * as scrolling from "./scrolling.js";
import { showThinking } from "./thinking.js";
import { t } from "./words.js";

const FRAME = 30; // ms: changes within it are shown together
const WIRE_MESSAGES = { user: wireMessage("user"), assistant: wireMessage("assistant") };
// The chatbot's new value after `refreshMessages`.
export const messagesValue = () => [open.entries.map(({ role }) => WIRE_MESSAGES[role])];

let shownRoles = ""; // of the rows that the chatbot has
let timer = 0;
let shownWriting = false; // the state that all buttons show: an answer may begin and end within one frame
const update = () => {
  timer ||= setTimeout(() => {
    timer = 0;
    const roles = open.entries.map(({ role }) => role).join();
    if (roles !== shownRoles) refreshMessages();
    shownRoles = roles;
    const main = find("#main");
    if (main.classList.toggle("writing", isWriting()) !== shownWriting) {
      shownWriting = isWriting();
      markWaiting(find("#messages"), shownWriting);
    }
    main.classList.toggle("empty", !open.id && !open.entries.length);
    main.classList.toggle("temporary", open.isTemporary || Boolean(open.item?.temporary));
    decorateSoon();
  }, FRAME);
};

let frame = 0;
const decorateSoon = () => {
  frame ||= requestAnimationFrame(() => {
    frame = 0;
    decorate();
  });
};

const decorate = () => {
  const list = messageList();
  if (!list) return;
  const rows = messageRows();
  if (rows.length === open.entries.length) {
    open.entries.forEach((entry, i) => {
      if (rows[i].chatEntry !== entry || !hasTextPlace(rows[i])) decorateRow(rows[i], entry);
    });
    placeForms(rows, open.entries);
  }
  const button = find("#earlier", list);
  if (open.earlier && !button) list.prepend(earlierButton());
  else if (!open.earlier) button?.remove();
  scrolling.scrollToEnd();
};

const earlierButton = () =>
  h(
    "button",
    {
      type: "button",
      id: "earlier",
      class: "link",
      onclick: () => scrolling.keepingPosition(showEarlier, decorate),
    },
    t("Show earlier messages"),
  );

// Gradio reuses rows for other messages, so what was added is replaced when the message has changed.
const decorateRow = (row, entry) => {
  const before = row.chatEntry;
  row.chatEntry = entry;
  const isAnswer = entry.role === "assistant";
  drawText(row, {
    id: entry.id,
    text: entry.text,
    isQuestion: !isAnswer,
    isWriting: Boolean(entry.writing),
    images: pathOf(open.id, "/images/"),
    citations: entry.citations,
    citationPlace,
  });
  row.dataset.column = entry.column || "";
  row.dataset.id = entry.id;
  row.dataset.role = entry.role;
  row.setAttribute("role", "article");
  const label = isAnswer && models.labelOf(entry.label);
  row.setAttribute("aria-label", isAnswer ? t("Answer of {model}", { model: label }) : t("Your message"));
  const unchanged = before && { ...before, text: entry.text, thinking: entry.thinking };
  if (unchanged && JSON.stringify(unchanged) === JSON.stringify(entry) && row.querySelector(":scope > footer")) {
    showThinking(row, entry);
    return;
  }
  keepingFocus(row, () => {
    row.querySelectorAll(":scope > :is(footer, .author, .images, .documents, .demo-note)").forEach((element) => element.remove());
    if (isAnswer) {
      row.prepend(h("div", { class: "author" }, h("bdi", {}, label)));
      if (entry === firstDemoAnswer()) row.prepend(demoNote());
      if (entry.images?.length) row.append(imageRow(entry));
      row.append(answerFooter(entry));
      if (entry.citations?.length) row.lastChild.append(sources(entry));
    } else {
      if (entry.images?.length) row.prepend(imageRow(entry));
      if (entry.documents?.length) row.prepend(documentRow(entry));
      row.append(questionFooter(entry));
    }
    showThinking(row, entry);
    if (shownWriting) markWaiting(row, true);
  });
};

// An element that a module fills, which the first of its kind loads.
const filledBy = (name, element, fill) => {
  loadModule(name).then(
    (module) => fill(module, element),
    () => {}, // it stays empty
  );
  return element;
};
const documentRow = ({ documents }) =>
  filledBy("documents", h("div", { class: "documents" }), ({ chipsOf }, row) => row.append(...chipsOf(documents)));
const citationPlace = (citations, index) =>
  filledBy("citations", h("sup", { class: "citation" }), (module, place) => module.drawCitation(place, citations, index));
const sources = ({ citations }) =>
  filledBy("citations", h("div", { class: "sources" }), ({ sourcesOf }, list) => list.append(...sourcesOf(citations)));

const firstDemoAnswer = () => open.entries.find(({ role, model }) => role === "assistant" && models.isDemo(model));

const demoNote = () =>
  h(
    "div",
    { class: "demo-note" },
    t("This is a tiny model to try the page with. It knows a little English and is often wrong."),
    " ",
    models.offered() &&
      h("button", { type: "button", class: "link", onclick: models.openLocalModels }, t("Get a better model")),
  );

const imageRow = (entry) =>
  h(
    "div",
    { class: "images" },
    entry.images.map(({ id, width, height }, i) => {
      const address = pathOf(open.id, `/images/${id}`);
      const attributes = { src: address, width, height, loading: "lazy", alt: t("Image {number}", { number: i + 1 }) };
      return h("a", { href: address, target: "_blank", rel: "noopener" }, h("img", attributes));
    }),
  );

// A failed answer offers another model, which may have become ready since, or is ready no more: draw it again.
const offerOtherModels = () => {
  if (!messageList()) return; // the page is still loading
  messageRows().forEach((row) => {
    if (row.chatEntry?.status === "error") row.chatEntry = null;
  });
  decorateSoon();
};

export const start = () => {
  onChange((what) => {
    if (what === "opened") scrolling.followEnd();
    update();
  });
  models.onReadiness(offerOtherModels);
  scrolling.start();
  find("#message").addEventListener("input", prepare, { once: true }); // the first answer is a moment away
  new MutationObserver(decorateSoon).observe(find("#messages"), { childList: true, subtree: true });
};
