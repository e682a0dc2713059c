// The lists of conversations: the pinned ones, the others by time, and the archive.
import { call } from "./api.js";
import { attempt } from "./notices.js";
import { t } from "./words.js";

export const list = { pinned: [], items: [], cursor: null };
export const archive = { items: [], cursor: null, isOpen: false };
// Of each folder that was opened: {items, isLoaded}. What is in a folder is in the list, too.
export const folderLists = new Map();
const listeners = new Set();
// Call `listener()` after each change of a list.
export const onListChange = (listener) => listeners.add(listener);
export const listChanged = () => listeners.forEach((listener) => listener());

export const titleOf = (item) => item?.title || t("New chat");
const sections = () => [list, archive, ...folderLists.values()];
export const itemOf = (id) => [...list.pinned, ...sections().flatMap(({ items }) => items)].find((item) => item.id === id);

export const setConversations = ({ pinned = [], items, cursor }) => {
  Object.assign(list, { pinned, items, cursor });
  listChanged();
};

// A response shows the state before what changed here while it was awaited.
const reads = new Set(); // of each request without a response: the ids of the conversations that changed since
const read = async (path) => {
  const changed = new Set();
  reads.add(changed);
  try {
    return { page: await call("GET", path), changed };
  } finally {
    reads.delete(changed);
  }
};

const byTime = (a, b) => b.updated - a.updated;
const setItems = (section, items, changed) => {
  const kept = section.items.filter(({ id }) => changed.has(id));
  section.items = [...kept, ...items.filter(({ id }) => !changed.has(id))].sort(byTime);
};

const without = (items, id) => items.filter((item) => item.id !== id);

const takeOut = (id) => {
  for (const changed of reads) changed.add(id);
  for (const section of sections()) section.items = without(section.items, id);
  list.pinned = without(list.pinned, id);
};

// Move a conversation to the list and the position of its current state.
export const placeInLists = (item) => {
  if (item.temporary) return;
  takeOut(item.id);
  const place = (section) => (section.items = [item, ...section.items].sort(byTime));
  if (item.archived) place(archive);
  else if (item.pinned) list.pinned = [item, ...list.pinned].sort(byTime);
  else place(list);
  if (!item.archived && folderLists.has(item.folder)) place(folderLists.get(item.folder));
  listChanged();
};

export const removeFromLists = (id) => {
  takeOut(id);
  listChanged();
};

// Load the next page of a section, which has {items, cursor}.
export const loadMore = (section, path) =>
  attempt(async () => {
    const { page, changed } = await read(`${path}&cursor=${encodeURIComponent(section.cursor)}`);
    const items = page.items || page.hits;
    const listedIds = new Set([...changed, ...section.items.map((item) => item.id)]);
    section.items = [...section.items, ...items.filter((item) => !item.id || !listedIds.has(item.id))];
    section.cursor = page.cursor;
    listChanged();
  });

// Load the conversations of a folder.
export const loadFolder = (id) =>
  attempt(async () => {
    const section = { items: [], isLoaded: false };
    folderLists.set(id, section);
    try {
      const { page, changed } = await read(`conversations?folder=${encodeURIComponent(id)}`);
      setItems(section, page.items, changed);
      section.isLoaded = true;
    } finally {
      if (!section.isLoaded) folderLists.delete(id); // it can be tried again
    }
    listChanged();
  });

export const openArchive = (isOpen) => {
  if (isOpen === archive.isOpen) return;
  archive.isOpen = isOpen;
  if (isOpen)
    attempt(async () => {
      const { page, changed } = await read("conversations?archived=1");
      setItems(archive, page.items, changed);
      archive.cursor = page.cursor;
      listChanged();
    });
};
