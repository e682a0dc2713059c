// The lists of conversations: the pinned ones, the others by time, and the archive.
import { call } from "./api.js";
import { attempt } from "./notices.js";
import { t } from "./words.js";

export const list = { pinned: [], items: [], cursor: null };
export const archive = { items: [], cursor: null, isOpen: false };
// Of each folder that was opened: {items}. What is in a folder is in the list, too.
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

const without = (items, id) => items.filter((item) => item.id !== id);

const takeOut = (id) => {
  for (const section of sections()) section.items = without(section.items, id);
  list.pinned = without(list.pinned, id);
};

// Move a conversation to the list and the position of its current state.
export const placeInLists = (item) => {
  if (item.temporary) return;
  takeOut(item.id);
  const byTime = (a, b) => b.updated - a.updated;
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
    const page = await call("GET", `${path}&cursor=${encodeURIComponent(section.cursor)}`);
    const items = page.items || page.hits;
    const listedIds = new Set(section.items.map((item) => item.id));
    section.items = [...section.items, ...items.filter((item) => !item.id || !listedIds.has(item.id))];
    section.cursor = page.cursor;
    listChanged();
  });

// Load the conversations of a folder.
export const loadFolder = (id) =>
  attempt(async () => {
    const { items } = await call("GET", `conversations?folder=${encodeURIComponent(id)}`);
    folderLists.set(id, { items });
    listChanged();
  });

export const openArchive = (isOpen) => {
  if (isOpen === archive.isOpen) return;
  archive.isOpen = isOpen;
  if (isOpen)
    attempt(async () => (Object.assign(archive, await call("GET", "conversations?archived=1")), listChanged()));
};
