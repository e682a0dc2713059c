// The documents of a conversation: what the page says of them, and the chips of a question that was sent. Loaded with the
// first of them.
import { loadModule, pathOf } from "./api.js";
import { open } from "./conversation.js";
import "./documents_note.js";
import { h, icon } from "./dom.js";
import { attempt } from "./notices.js";
import { RIGHT_TO_LEFT } from "./text_direction.js";
import { fileSize, isolated, t } from "./words.js";

// The others are names.
const KINDS = { text: t("text"), "e-mail": t("e-mail"), "source code": t("source code") };

const pagesText = (kind, number) => {
  if (kind === "Excel") return t("{number} sheets", { number });
  return kind === "PowerPoint" ? t("{number} slides", { number }) : t("{number} pages", { number });
};

// The name of a page, {number, name}: only sheets have one of their own.
export const pageName = (kind, { number, name }) => {
  if (name) return name;
  if (kind === "Excel") return t("Sheet {number}", { number });
  return kind === "PowerPoint" ? t("Slide {number}", { number }) : t("Page {number}", { number });
};

// What the pages of a document are called, by its name: a citation of a collection's document does not know its kind.
export const kindOf = (name) => {
  if (/\.(?:xl\w+|ods)$/i.test(name)) return "Excel";
  if (/\.pptx$/i.test(name)) return "PowerPoint";
  return /\.pdf$/i.test(name) ? "PDF" : "";
};

// The name of the page that a citation quotes; "" for the only page of a document, as far as is known.
export const citedPageName = ({ kind, pages }, { collection, page }) => {
  const isOne = collection ? !kind && page === 1 : pages === 1;
  return isOne ? "" : pageName(kind, { number: page });
};

export const factsOf = ({ kind, pages, size }) =>
  [KINDS[kind] || kind, pages > 1 && pagesText(kind, pages), size && fileSize(size)].filter(Boolean).map(isolated).join(" · ");

// A file's name for a `bdi`: after Hebrew or Arabic the ending stays in one piece ("2026.pdf" would read "pdf.2026"), and
// no character of the name turns its letters around.
export const shownName = (name) => {
  const text = name.replace(/[\u0000-\u001f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, "");
  return RIGHT_TO_LEFT.test(text) ? text.replace(/\.(?=[^.]*$)/, "\u200e.") : text;
};

export const nameAndFacts = (name, facts) =>
  h("span", { class: "words" }, h("bdi", { title: shownName(name) }, shownName(name)), h("span", { class: "quiet" }, facts));

// A document of the messages that are loaded.
export const documentOf = (id) => {
  for (const { documents } of open.entries) for (const document of documents || []) if (document.id === id) return document;
  return null;
};

// Show the text of a document, at a citation's quote if there is one.
export const openDocument = (id, citation = null) => {
  const path = documentPath(id, citation?.collection);
  return attempt(async () => (await loadModule("document_viewer")).openDocument(path, documentOf(id), citation));
};
// Where the text of a document is read: one of the open conversation, or of a collection.
export const libraryPath = (collection, id) => `collections/${encodeURIComponent(collection)}/documents/${encodeURIComponent(id)}`;
export const documentPath = (id, collection = "") =>
  collection ? libraryPath(collection, id) : pathOf(open.id, `/documents/${encodeURIComponent(id)}`);

export const chipsOf = (documents) =>
  documents.map((document) =>
    h(
      "button",
      { type: "button", class: "document", onclick: () => openDocument(document.id) },
      icon("file"),
      nameAndFacts(document.name, factsOf(document)),
    ),
  );
