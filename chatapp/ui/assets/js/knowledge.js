// The dialog "Knowledge": the collections, and the documents of one. Documents are added by knowledge_uploads.js, also
// while the dialog is closed.
import { call, loadModule } from "./api.js";
import { chooseCollection } from "./library_choice.js";
import { factsOf, libraryPath, nameAndFacts, shownName } from "./documents.js";
import { confirmed, find, h, icon, iconButton, keepingFocus, setChildren } from "./dom.js";
import { changed, collectionById, library, onLibrary, ownCollection, reload } from "./library.js";
import { limits } from "./attachments.js";
import { entriesWithFolder } from "./pasting.js";
import { isRenaming, renameIn } from "./renaming.js";
import { newId } from "./stream.js";
import { add, forget, onUploads, stop, uploads } from "./knowledge_uploads.js";
import { fileSize, isolated, t } from "./words.js";

const MOST_NAME = 100; // characters; chatapp/domain/library.py
const FILTERED_FROM = 8; // entries of a list: more of them have a filter

let dialog = null;
let shown = ""; // id of the collection that is shown, "" for the list of all
const refusal = h("p", { class: "refusal", role: "alert" });
const content = h("div", { class: "content" });
const heading = h("h2", { tabindex: "-1" });

// Run an action; show its error in the dialog, which covers the page.
const attempt = async (action) => {
  refusal.textContent = "";
  try {
    return await action();
  } catch (error) {
    refusal.textContent = error.message;
    return null;
  }
};
const pathOf = (id, rest = "") => `collections/${encodeURIComponent(id)}${rest}`;
const change = (method, path, body) =>
  attempt(async () => {
    const result = await call(method, path, body);
    await changed();
    return result;
  });

const show = (id) => {
  shown = id;
  refusal.textContent = "";
  filterBox.value = "";
  dialog.style.minBlockSize = "";
  draw();
  heading.focus();
};

// --- The filter of a long list ---

const filterName = t("Filter by name");
const filterBox = h("input", { type: "search", dir: "auto", "aria-label": filterName, placeholder: filterName });
filterBox.addEventListener("input", () => {
  // The dialog stays as high as it is with the whole list: else what one types in would move.
  if (!dialog.style.minBlockSize) dialog.style.minBlockSize = `min(${dialog.offsetHeight}px, 100dvh - 16px)`;
  if (!filterBox.value) dialog.style.minBlockSize = "";
  draw();
});
const noneFound = h("p", { class: "quiet", role: "status" });

// Names are compared without case, and without the points and vowels of Hebrew and Arabic.
const folded = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();

// The rows of a list, each entry of which has the texts `textsOf(entry)`; above them a filter if there are many.
const filteredRows = (entries, rowOf, textsOf) => {
  const isFiltered = entries.length > FILTERED_FROM;
  const words = isFiltered ? folded(filterBox.value).split(/\s+/) : [];
  const found = entries.filter((entry) => {
    const text = folded(textsOf(entry).join("\n"));
    return words.every((word) => text.includes(word));
  });
  noneFound.textContent = isFiltered && !found.length ? t("No results") : "";
  return [isFiltered && filterBox, isFiltered && noneFound, h("ul", { class: "rows" }, found.map(rowOf))];
};

// --- All collections ---

let idOfNew = newId(); // the same one for a retry
const create = async (event) => {
  event.preventDefault();
  const input = find("input", event.target);
  const name = input.value.trim();
  if (!name || !(await change("POST", "collections", { name, id: idOfNew }))) return;
  input.value = "";
  show(idOfNew);
  idOfNew = newId();
};

const newName = t("Name of the new collection");
const newCollection = h(
  "form",
  { class: "new", onsubmit: create },
  h("input", { required: true, maxlength: MOST_NAME, dir: "auto", "aria-label": newName, placeholder: newName }),
  h("button", { type: "submit", class: "button" }, t("New collection")),
);

const renameCollection = ({ id, name }, row) =>
  renameIn(row, name, {
    label: t("Name"),
    most: MOST_NAME,
    save: (now) => change("PATCH", pathOf(id), { name: now }),
    done: draw,
  });

const removeCollection = async ({ id, name, documents }) => {
  const question = t("Delete the collection {name} and its documents ({number})? This cannot be undone.", {
    name,
    number: documents.length,
  });
  if (!(await confirmed(question, t("Delete"), t("Cancel")))) return;
  if (uploads.collection === id) stop();
  if (await change("DELETE", pathOf(id))) show("");
};

const collectionRow = (collection) => {
  const { id, name, documents } = collection;
  const row = h(
    "li",
    {},
    h(
      "button",
      { type: "button", class: "open", onclick: () => show(id) },
      icon("book"),
      h(
        "span",
        { class: "words" },
        h("bdi", {}, name),
        h("span", { class: "quiet" }, t("Documents: {number}", { number: documents.length })),
      ),
    ),
    iconButton("edit", t("Rename {name}", { name }), () => renameCollection(collection, row)),
    iconButton("trash", t("Delete {name}", { name }), () => removeCollection(collection)),
  );
  return row;
};

const allCollections = () => [
  h(
    "p",
    {},
    t(
      "A collection is a set of your documents. Choose it in a conversation or for a folder, and the model answers from its documents.",
    ),
  ),
  // A collection is found by the names of its documents, too.
  filteredRows(library.collections, collectionRow, ({ name, documents }) => [name, ...documents.map((one) => one.name)]),
  newCollection,
];

// --- One collection ---

const addFiles = async (collection, files) => {
  const words = t("Documents are being added. Wait until that is finished, or stop it first.");
  refusal.textContent = uploads.isRunning ? words : "";
  if (uploads.isRunning || !files.length) return;
  add(collection, files, { most: library.most, bytes: (await limits).documentBytes });
};
const withPaths = (files) => files.map((file) => ({ file, path: file.webkitRelativePath || file.name }));

const picker = (properties, use) => {
  const input = h("input", { type: "file", hidden: true, ...properties });
  input.addEventListener("change", () => (use([...input.files]), (input.value = "")));
  return input;
};

const removeDocument = async (collection, { id, name }) => {
  const question = t("Remove {name} from the collection? Its text is deleted here.", { name: shownName(name) });
  if (!(await confirmed(question, t("Remove"), t("Cancel")))) return;
  await change("DELETE", pathOf(collection.id, `/documents/${encodeURIComponent(id)}`));
  heading.focus();
};

const documentRow = (collection, document_) => {
  const { id, name } = document_;
  const input = picker({}, ([file]) => file && addFiles(collection, [{ file, path: file.name, replaces: id }]));
  const view = async () => (await loadModule("document_viewer")).openDocument(libraryPath(collection.id, id), document_);
  return h(
    "li",
    {},
    h("button", { type: "button", class: "open", onclick: () => attempt(view) }, icon("file"), nameAndFacts(name, factsOf(document_))),
    iconButton("again", t("Replace {name}", { name: shownName(name) }), () => input.click()),
    iconButton("trash", t("Remove {name}", { name: shownName(name) }), () => removeDocument(collection, document_)),
    input,
  );
};

const useButton = ({ id, name }) => {
  const isChosen = ownCollection()?.id === id;
  const words = isChosen ? t("Stop using it in this conversation") : t("Use in this conversation");
  const choose = () => attempt(async () => (await chooseCollection(isChosen ? "" : id), draw(), !isChosen && dialog.close()));
  return h("button", { type: "button", class: isChosen ? "button" : "button primary", "data-name": name, onclick: choose }, words);
};

const oneCollection = (collection) => {
  const { documents } = collection;
  const files = picker({ multiple: true }, (chosen) => addFiles(collection, withPaths(chosen)));
  const folder = picker({ webkitdirectory: true }, (chosen) => addFiles(collection, withPaths(chosen)));
  const bytes = documents.reduce((sum, { size }) => sum + size, 0);
  return [
    h(
      "div",
      { class: "row" },
      h("button", { type: "button", class: "button", onclick: () => files.click() }, icon("clip"), t("Add documents")),
      "webkitdirectory" in folder &&
        h("button", { type: "button", class: "button", onclick: () => folder.click() }, icon("folder"), t("Add a folder")),
      documents.length > 0 && useButton(collection),
      files,
      folder,
    ),
    uploadState(collection),
    documents.length
      ? h(
          "p",
          { class: "quiet" },
          t("Documents: {number} of at most {most}", { number: documents.length, most: library.most }),
          ` · ${isolated(fileSize(bytes))}`,
        )
      : h("p", { class: "drop-here" }, t("Drop documents or a folder here. A document with the name of one that is here replaces it.")),
    filteredRows(documents, (document_) => documentRow(collection, document_), ({ name }) => [name]),
    documents.length > 0 &&
      h("p", { class: "quiet" }, t("Their texts go to the models of the conversations that use this collection.")),
  ];
};

const uploadState = ({ id }) => {
  if (uploads.collection !== id) return null;
  const { all, done, name, share, isRunning, refusals } = uploads;
  const words = t("Reading {number} of {all}: {name}", { number: Math.min(done + 1, all), all, name: shownName(name) });
  return h(
    "div",
    { class: "uploads" },
    isRunning && [
      h("progress", { max: all, value: done + share, "aria-label": t("Adding documents") }),
      h("div", { class: "between" }, h("span", {}, words), h("button", { type: "button", class: "link", onclick: stop }, t("Stop"))),
    ],
    refusals.length > 0 && h("ul", { class: "refusals" }, refusals.map((refused) => h("li", {}, refused))),
  );
};

// --- The dialog ---

const announcement = h("p", { class: "unseen", role: "status" });
const announce = () => {
  const { isRunning, added, all } = uploads;
  const words = isRunning
    ? t("Adding documents")
    : all > 0 && t("Documents added: {number}. Not added: {left}.", { number: added, left: all - added });
  if (announcement.textContent !== (words || "")) announcement.textContent = words || "";
};

const draw = () => {
  if (!dialog || isRenaming()) return;
  const collection = collectionById(shown);
  if (shown && !collection) shown = ""; // it was deleted elsewhere
  heading.replaceChildren(collection ? h("bdi", {}, collection.name) : t("Knowledge"));
  back.hidden = !collection;
  keepingFocus(content, () =>
    setChildren(content, collection ? oneCollection(collection) : allCollections()),
  );
  announce();
};

const back = iconButton("previous", t("All collections"), () => show(""), { hidden: true });

const takeDrop = (event) => {
  event.preventDefault();
  event.stopPropagation(); // the message box would take it
  dialog.classList.remove("over");
  const collection = collectionById(shown);
  if (!collection) return (refusal.textContent = t("Open a collection first, then drop the files there."));
  const entries = entriesWithFolder(event.dataTransfer);
  if (!entries.length) return addFiles(collection, withPaths([...event.dataTransfer.files]));
  attempt(async () => {
    const { files, unread, isCut } = await (await loadModule("folder_files")).filesOf(entries);
    const words = [
      unread.length > 0 && t("The browser could not read: {names}.", { names: { names: unread.slice(0, 5) } }),
      isCut && t("The folder has too many files. Only the first ones were looked at."),
      !files.length && !unread.length && t("There are no files in this folder."),
    ].filter(Boolean);
    if (files.length) await addFiles(collection, files);
    if (words.length) throw new Error(words.join(" "));
  });
};

const takePaste = (event) => {
  const files = [...event.clipboardData.files];
  const collection = collectionById(shown);
  if (!files.length || !collection || event.target.closest("input")) return;
  event.preventDefault();
  addFiles(collection, withPaths(files));
};

const over = (event) => (event.preventDefault(), event.stopPropagation(), dialog.classList.add("over"));

// Open the dialog, at a collection if there is one of this id.
export const open = async (id = "") => {
  if (dialog) return;
  await reload();
  dialog = h(
    "dialog",
    {
      id: "knowledge",
      "aria-label": t("Knowledge"),
      ondragover: over,
      ondragleave: () => dialog.classList.remove("over"),
      ondrop: takeDrop,
      onpaste: takePaste,
      onclose: () => (dialog.remove(), (dialog = null), forget()),
    },
    h(
      "header",
      {},
      back,
      heading,
      iconButton("close", t("Close"), () => dialog.close()),
    ),
    refusal,
    announcement,
    content,
  );
  document.body.append(dialog);
  dialog.showModal();
  show(id);
};

onLibrary(draw);
onUploads(draw);
