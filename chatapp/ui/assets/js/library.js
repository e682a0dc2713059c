// The person's library as every page knows it: collections of documents ("Knowledge"), and folders of conversations.
// Everything that changes it is loaded when it is needed.
import { call, loadModule } from "./api.js";
import { open } from "./conversation.js";
import { attempt } from "./notices.js";
import { channel } from "./windows.js";

const CURRENT_FOR = 30_000; // ms

// Collections have {id, name}, folders {id, name, collection}; after `reload` also {documents} and {instructions}.
// `most`: documents of a collection; 0: the chat has no library.
export const library = { most: 0, collections: [], folders: [] };
const listeners = new Set();
// Call `listener()` after each change.
export const onLibrary = (listener) => listeners.add(listener);

export const setLibrary = (now) => {
  Object.assign(library, now);
  listeners.forEach((listener) => listener());
};
let readAt = Date.now();
let reads = 0;
let shownRead = 0;
export const reload = async () => {
  readAt = Date.now();
  const read = ++reads;
  const now = await call("GET", "library");
  if (read < shownRead) return; // this response is older than what is shown
  shownRead = read;
  setLibrary(now);
};
const reloadQuietly = () => reload().catch(() => {});

// After a change here: read the library, in other windows too.
export const changed = async () => {
  tellOtherWindows("");
  await reload();
};
const tellOtherWindows = channel("library", reloadQuietly);
// Another device may have changed it.
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && library.most && Date.now() - readAt > CURRENT_FOR) reloadQuietly();
});

const byId = (items, id) => (id && items.find((item) => item.id === id)) || null;
export const collectionById = (id) => byId(library.collections, id);
export const folderById = (id) => byId(library.folders, id);

// Of the open conversation, or of the new one: its own choice, its folder, and the collection that its model gets.
const chosen = () => open.item || open;
export const openFolder = () => folderById(chosen().folder);
export const ownCollection = () => collectionById(chosen().collection);
export const openCollection = () => ownCollection() || collectionById(openFolder()?.collection);

export const openKnowledge = (id = "") => attempt(async () => (await loadModule("knowledge")).open(id));
