// The lists of conversations: the pinned ones, the others by time, and the archive.
import { call } from "./api.js";
import { attempt } from "./notices.js";
import { t } from "./words.js";

export const list = { pinned: [], items: [], cursor: null };
export const archive = { items: [], cursor: null, isOpen: false };
const listeners = new Set();
// Call `listener()` after each change of a list.
export const onListChange = (listener) => listeners.add(listener);
export const listChanged = () => listeners.forEach((listener) => listener());

export const titleOf = (item) => item?.title || t("New chat");
export const itemOf = (id) => [...list.pinned, ...list.items, ...archive.items].find((item) => item.id === id);

export const setConversations = ({ pinned = [], items, cursor }) => {
  Object.assign(list, { pinned, items, cursor });
  listChanged();
};

const without = (items, id) => items.filter((item) => item.id !== id);

const takeOut = (id) => {
  for (const section of [list, archive]) section.items = without(section.items, id);
  list.pinned = without(list.pinned, id);
};

// Move a conversation to the list and the position of its current state.
export const placeInLists = (item) => {
  if (item.temporary) return;
  takeOut(item.id);
  const byTime = (a, b) => b.updated - a.updated;
  if (item.archived) archive.items = [item, ...archive.items].sort(byTime);
  else if (item.pinned) list.pinned = [item, ...list.pinned].sort(byTime);
  else list.items = [item, ...list.items].sort(byTime);
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

export const openArchive = (isOpen) => {
  if (isOpen === archive.isOpen) return;
  archive.isOpen = isOpen;
  if (isOpen)
    attempt(async () => (Object.assign(archive, await call("GET", "conversations?archived=1")), listChanged()));
};
