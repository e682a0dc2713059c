// Prints the open conversation, all of it: a page shows the last messages only until more are asked for.
import { pathOf } from "./api.js";
import { open, showEarlier } from "./conversation.js";
import { find, h } from "./dom.js";
import { messageRows } from "./gradio_bridge.js";
import * as models from "./models.js";
import { t } from "./words.js";

const DRAWN_WITHIN = 15_000; // ms
const pause = () => new Promise((resolve) => setTimeout(resolve, 30));
const isDrawn = () => {
  const rows = open.entries.length ? messageRows() : [];
  return rows.length === open.entries.length && rows.every((row, i) => row.chatEntry === open.entries[i]);
};

// Load and draw the earlier messages and the images, then print.
export const printConversation = async () => {
  for (let before = Infinity; open.earlier && open.earlier < before; ) {
    before = open.earlier;
    await showEarlier();
  }
  if (open.earlier) return; // they could not be loaded, which the page says
  for (const end = Date.now() + DRAWN_WITHIN; Date.now() < end && !isDrawn(); ) await pause();
  const images = [...document.querySelectorAll("#messages img")];
  images.forEach((image) => (image.loading = "eager"));
  await Promise.allSettled(images.map((image) => image.decode()));
  print();
};

// The browser's own menu prints at once. Nothing can be awaited then, so that the messages that are not loaded are
// fetched synchronously, and printed as they were written.
const fetchEarlier = () => {
  const entries = [];
  let [first, earlier] = [open.entries[0]?.id, open.earlier];
  while (earlier) {
    const request = new XMLHttpRequest();
    request.open("GET", pathOf(open.id, `/messages?before=${first}`), false);
    request.send();
    const page = JSON.parse(request.responseText);
    entries.unshift(...page.messages);
    if (page.earlier >= earlier) break;
    [first, earlier] = [page.messages[0].id, page.earlier];
  }
  return entries;
};

const plainMessage = ({ role, label, text, documents = [] }) =>
  h(
    "article",
    {},
    h("div", { class: "author" }, role === "assistant" ? h("bdi", {}, models.labelOf(label)) : t("Your message")),
    documents.map(({ name }) => h("div", {}, h("bdi", {}, name))),
    text.split("\n").map((line) => h("div", { dir: "auto" }, line || h("br"))),
  );

const showEarlierAsText = () => {
  if (!open.earlier) return;
  let content;
  try {
    content = fetchEarlier().map(plainMessage);
  } catch {
    content = h("p", {}, t("Earlier messages could not be loaded."));
  }
  find("#messages").before(h("section", { id: "print-earlier" }, content));
};

export const start = () => {
  addEventListener("beforeprint", showEarlierAsText);
  addEventListener("afterprint", () => find("#print-earlier")?.remove());
};
