// The folders of the sidebar: each is opened to show its conversations, and has a menu.
import { loadModule } from "./api.js";
import { store, stored } from "./browser_storage.js";
import { open } from "./conversation.js";
import { folderLists, listChanged, loadFolder } from "./conversation_lists.js";
import { directed } from "./direction.js";
import { h, icon, iconButton, setChildren } from "./dom.js";
import { folderById, library, onLibrary, openKnowledge } from "./library.js";
import { attempt } from "./notices.js";
import { t } from "./words.js";

const OPENED = "open-folders"; // ids, in the browser's storage
const opened = new Set((stored("local", OPENED) || "").split(" ").filter(Boolean));
const setOpened = (id, isOpen) => {
  opened[isOpen ? "add" : "delete"](id);
  store("local", OPENED, [...opened].join(" "));
};

// Whether a conversation is shown in a folder.
export const isInFolder = ({ folder }) => Boolean(folderById(folder));
export const openFolderRow = (id) => (setOpened(id, true), listChanged());

const withMenus = (action) => attempt(async () => action(await loadModule("library_menus")));
export const newFolder = () => attempt(async () => (await loadModule("folder_settings")).open());

const rows = new Map(); // folder -> {row, name, list, button}
const createRow = (id) => {
  const name = h("span", {});
  const list = h("ul");
  const details = h("details", {}, h("summary", {}, icon("folder"), name), list);
  details.addEventListener("toggle", () => {
    if (details.open === opened.has(id)) return;
    setOpened(id, details.open);
    if (details.open && !folderLists.has(id)) loadFolder(id);
  });
  const button = iconButton("dots", "", ({ currentTarget }) => withMenus((menus) => menus.folderMenu(currentTarget, id)), {
    "aria-haspopup": "menu",
  });
  return { row: h("li", { class: "folder" }, details, button), details, name, list, button };
};

const rowOf = (folder, conversationRow) => {
  const { id } = folder;
  if (!rows.has(id)) rows.set(id, createRow(id));
  const { row, details, name, list, button } = rows.get(id);
  if (row.shown !== folder.name) {
    row.shown = folder.name;
    name.replaceChildren(directed(folder.name));
    button.title = t("More about the folder {name}", { name: folder.name });
    button.setAttribute("aria-label", button.title);
  }
  details.open = opened.has(id);
  row.classList.toggle("current", (open.item || open).folder === id);
  if (details.open && !folderLists.has(id)) loadFolder(id);
  const section = folderLists.get(id);
  const items = (section?.items || []).filter((item) => !item.pinned && item.folder === id);
  row.empty ||= h("li", { class: "quiet" }, t("No conversations in this folder."));
  setChildren(list, [items.map(conversationRow), section?.isLoaded && !items.length && row.empty]);
  return row;
};

const knowledge = h("button", { type: "button", id: "knowledge-button", onclick: () => openKnowledge() }, icon("book"), t("Knowledge"));
const top = h("div", { class: "library" }, knowledge, iconButton("newFolder", t("New folder"), newFolder));
const heading = h("h2", {}, t("Folders"));
const list = h("ul", { class: "folders" });

// The elements of the section; `conversationRow(item)` makes the row of a conversation.
export const section = (conversationRow) => {
  if (!library.most) return [];
  setChildren(list, library.folders.map((folder) => rowOf(folder, conversationRow)));
  return [top, library.folders.length > 0 && heading, list];
};

export const start = () => onLibrary(listChanged);
