// The text of a document in a dialog, page by page, with its file; and the quote of a citation beside its number.
import { call, loadModule, options } from "./api.js";
import { citedPageName, documentPath, factsOf, kindOf, pageName, shownName } from "./documents.js";
import { find, h, iconButton, place } from "./dom.js";
import { isolated, t } from "./words.js";

const KEPT = 4; // documents
const PART = 10_000; // characters of a page that the browser lays out at a time
const LINE = 80; // characters, about
const LINE_HEIGHT = 26; // px, about
const LONGEST_QUOTE = 600; // characters that are shown beside a number
const HIDDEN_AFTER = 200; // ms: the pointer is on its way to the quote

const read = new Map(); // path -> a promise of {name, kind, pages: [{number, name, text}]}
const documentAt = (path) => {
  if (!read.has(path)) {
    if (read.size >= KEPT) read.delete(read.keys().next().value);
    const document = call("GET", path);
    document.catch(() => read.delete(path));
    read.set(path, document);
  }
  return read.get(path);
};

const hasWords = ({ pages }, { page, start, stop, quote }) =>
  pages.find(({ number }) => number === page)?.text.slice(start, stop) === quote;

// The document that a citation quotes, and the place in it. Of a collection's document that was removed, or that is not
// what was quoted (an import may say anything), the words that are stored with the answer are all that is shown.
const citedDocument = async (path, citation) => {
  const { collection, name, page, quote } = citation || {};
  const document = await documentAt(path).catch((error) => {
    if (!quote || error.status !== 404) throw error;
  });
  if (!quote || (document && hasWords(document, citation))) return [document, citation];
  const kind = kindOf(name);
  const about = citedPageName({ kind }, { collection, page });
  return [{ name, kind, about, isGone: true, pages: [{ number: page, text: quote }] }, { page, start: 0, stop: quote.length }];
};

const GONE = t("This document is not in your collections.");

// --- The dialog ---

// [start, end] of each part of a text: whole lines, if these are not too long.
function* partsOf(text) {
  for (let start = 0; start < text.length; ) {
    const line = text.indexOf("\n", start + PART);
    let end = line < 0 || line > start + 2 * PART ? start + 2 * PART : line + 1;
    if (/[\ud800-\udbff]/.test(text[end - 1])) end++;
    yield [start, Math.min(end, text.length)];
    start = end;
  }
}

const partOf = (page, [start, end], quote) => {
  const text = page.text.slice(start, end);
  const [from, to] = quote?.page === page.number ? [quote.start, quote.stop] : [0, 0];
  const [first, last] = [from, to].map((at) => Math.min(Math.max(at - start, 0), text.length));
  const marked = first < last && h("mark", { tabindex: "-1" }, text.slice(first, last));
  const part = h("div", { class: "as-written" }, marked ? [text.slice(0, first), marked, text.slice(last)] : text);
  const lines = text.length / LINE + text.split("\n").length;
  part.style.containIntrinsicBlockSize = `auto ${Math.ceil(lines * LINE_HEIGHT)}px`;
  return part;
};

const pageSection = (kind, page, quote, isOnly) => {
  const name = pageName(kind, page);
  return h(
    "section",
    { "aria-label": isOnly ? null : name },
    !isOnly && h("h3", {}, h("bdi", {}, name)),
    [...partsOf(page.text)].map((part) => partOf(page, part, quote)),
  );
};

// Parts are laid out as they come into view, and then have other heights than they were thought to have.
const scrollTo = async (element) => {
  for (let frames = 0; frames < 4; frames++) {
    element.scrollIntoView({ block: "center" });
    await new Promise((resolve) => requestAnimationFrame(resolve));
  }
};

const aboutOf = ({ kind, pages, about, isGone }, facts) =>
  isGone ? [about, GONE].filter(Boolean).map(isolated).join(" · ") : factsOf(facts || { kind, pages: pages.length });

// What there is to do with the file of a document at a path, and a function that a page's number is told to.
const fileActions = (path, { kind, hasFile }, page) => {
  const address = `${path}/file`;
  const problem = h("div", { role: "alert" });
  const save = async () => {
    problem.textContent = "";
    const { download } = await loadModule("downloads");
    await download(address, options("GET")).catch(({ message }) => (problem.textContent = message));
  };
  const label = t("Open original PDF in a new tab");
  const original = h("a", { class: "link", target: "_blank", rel: "noopener", "aria-label": label }, t("Open original PDF"));
  const turnTo = (number) => original.setAttribute("href", `${address}#page=${number}`);
  turnTo(page);
  const saving = h("button", { type: "button", class: "link", onclick: save }, t("Download"));
  return [hasFile && [h("div", { class: "file" }, kind === "PDF" && original, saving), problem], turnTo];
};

// Show the document at a path. `facts` is what its message says of it, null if that is not loaded.
export const openDocument = async (path, facts, citation) => {
  const [document_, quote] = await citedDocument(path, citation);
  const { name, kind, pages } = document_;
  if (find("#document")) return; // by a second click meanwhile
  const isOnly = pages.length === 1;
  const sections = pages.map((page) => pageSection(kind, page, quote, isOnly));
  const text = h("div", { class: "text", tabindex: "0", role: "region", "aria-label": name, autofocus: true }, sections);
  const [actions, turnTo] = fileActions(path, document_, quote?.page || 1);
  const choose = () => {
    sections[choice.value].scrollIntoView();
    turnTo(pages[choice.value].number);
  };
  const choice =
    !isOnly &&
    h(
      "select",
      { "aria-label": t("Go to page"), onchange: choose },
      pages.map((page, i) => h("option", { value: i }, pageName(kind, page))),
    );
  const dialog = h(
    "dialog",
    { id: "document", "aria-label": name },
    h(
      "header",
      {},
      h("h2", {}, h("bdi", {}, shownName(name))),
      iconButton("close", t("Close"), () => dialog.close()),
    ),
    h("div", { class: "about" }, h("span", { class: "quiet" }, aboutOf(document_, facts)), choice, actions),
    text,
  );
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  const at = quote && pages.findIndex(({ number }) => number === quote.page);
  if (choice && at > 0) choice.value = String(at);
  const mark = text.querySelector("mark");
  mark?.focus({ preventScroll: true }); // a screen reader begins there
  const target = mark || sections[at || 0];
  if (quote && target) await scrollTo(target);
};

// --- The quote beside a number ---

let bubble = null;
let timer = 0;

export const hideQuote = () => {
  clearTimeout(timer);
  bubble?.remove();
  bubble = null;
};
export const hideQuoteSoon = () => {
  clearTimeout(timer);
  timer = setTimeout(() => bubble?.matches(":hover") || hideQuote(), HIDDEN_AFTER);
};

const onEscape = (event) => {
  if (event.key !== "Escape" || !bubble) return;
  hideQuote();
  event.stopPropagation();
};

// Show the words of a citation's document beside its number.
export const showQuote = async (button, citation) => {
  const path = documentPath(citation.document, citation.collection);
  const [document_, place_] = await citedDocument(path, citation).catch(() => []);
  const page = document_?.pages.find(({ number }) => number === citation.page);
  if (!page || !button.matches(":hover, :focus-visible")) return;
  hideQuote();
  const words = page.text.slice(place_.start, place_.stop);
  const shown = words.length > LONGEST_QUOTE ? `${words.slice(0, LONGEST_QUOTE)}…` : words;
  bubble = h(
    "div",
    { popover: "manual", class: "menu quote", role: "tooltip", id: "quote", onpointerleave: hideQuoteSoon },
    h(
      "div",
      { class: "quiet" },
      h("bdi", {}, shownName(document_.name)),
      document_.pages.length > 1 && [" · ", h("bdi", {}, pageName(document_.kind, page))],
      document_.about && [" · ", h("bdi", {}, document_.about)],
    ),
    h("blockquote", { class: "as-written" }, shown),
    document_.isGone && h("div", { class: "quiet" }, GONE),
  );
  document.body.append(bubble);
  bubble.showPopover();
  place(bubble, button);
  button.setAttribute("aria-describedby", "quote");
};

addEventListener("keydown", onEscape, true);
addEventListener("scroll", hideQuote, { capture: true, passive: true });
