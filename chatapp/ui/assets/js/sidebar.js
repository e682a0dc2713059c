// The sidebar's list of conversations by day, with the menu of each.
import { onChange, open } from "./conversation.js";
import { actions } from "./conversation_actions.js";
import {
  archive,
  itemOf,
  list,
  loadMore,
  onListChange,
  openArchive,
  placeInLists,
  titleOf,
} from "./conversation_lists.js";
import { directed } from "./direction.js";
import { find, h, icon, iconButton, setChildren } from "./dom.js";
import * as folders from "./folders.js";
import { sidebarButton } from "./gradio_bridge.js";
import { addressOf, openConversation } from "./navigation.js";
import { isRenaming } from "./renaming.js";
import * as search from "./search.js";
import { dayGroup, t } from "./words.js";

// A redraw keeps the elements of what stays listed, and with them the focus, open menus and the scroll position.
const rows = new Map(); // conversation -> its element
const groups = new Map(); // heading -> its elements

const createRow = (id) => {
  const link = h("a", {
    href: addressOf(id),
    onclick: (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return; // opens a new tab or window
      event.preventDefault();
      openConversation(id);
    },
  });
  const more = iconButton("dots", "", (event) => actions(event.currentTarget, itemOf(id)), { "aria-haspopup": "menu" });
  return h("li", { "data-id": id }, link, more);
};

const rowOf = (item) => {
  const row = rows.get(item.id) || createRow(item.id);
  rows.set(item.id, row);
  const isOpen = item.id === open.id;
  const shown = JSON.stringify([titleOf(item), Boolean(item.writing), isOpen]);
  if (row.shown === shown) return row;
  row.shown = shown;
  const [link, more] = row.children;
  row.classList.toggle("open", isOpen);
  if (isOpen) link.setAttribute("aria-current", "page");
  else link.removeAttribute("aria-current");
  const dot = item.writing && h("span", { class: "dot", title: t("Writing…") });
  link.replaceChildren(...[directed(titleOf(item)), dot].filter(Boolean));
  more.title = t("More about {title}", { title: titleOf(item) });
  more.setAttribute("aria-label", more.title);
  return row;
};

const group = (title, items, picture) => {
  if (!items.length) return [];
  if (!groups.has(title)) groups.set(title, [h("h2", {}, picture && icon(picture), title), h("ul")]);
  setChildren(groups.get(title)[1], items.map(rowOf));
  return groups.get(title);
};

const byDay = (items) => {
  const days = new Map();
  for (const item of items) {
    const title = dayGroup(item.updated);
    days.set(title, [...(days.get(title) || []), item]);
  }
  return [...days].map(([title, its]) => group(title, its));
};

const moreButton = (section, path) =>
  h("button", { type: "button", class: "link", onclick: () => loadMore(section, path) }, t("Show older conversations"));
const moreListed = moreButton(list, "conversations?archived=0");
const moreArchived = moreButton(archive, "conversations?archived=1");
const emptyNote = h("p", { class: "quiet" }, t("Your conversations will appear here."));
const archived = h("ul");
const archiveDetails = h(
  "details",
  { ontoggle: (event) => openArchive(event.currentTarget.open) },
  h("summary", {}, icon("archive"), t("Archived")),
  archived,
);

const content = () => {
  if (search.isSearching()) return search.results();
  setChildren(archived, archive.items.map(rowOf));
  setChildren(archiveDetails, [archiveDetails.firstChild, archived, archive.cursor && moreArchived]);
  return [
    folders.section(rowOf),
    group(t("Pinned"), list.pinned, "pin"),
    byDay(list.items.filter((item) => !folders.isInFolder(item))),
    list.cursor && moreListed,
    !list.items.length && !list.pinned.length && emptyNote,
    archiveDetails,
  ];
};

const render = () => {
  // A name that is being typed stays where it is: the other rows move when it is finished.
  if (isRenaming()) return [...rows.keys()].map(itemOf).filter(Boolean).forEach(rowOf);
  const focused = document.activeElement;
  setChildren(find("#conversations nav"), content());
  for (const [id, row] of rows) if (!row.isConnected && !itemOf(id)) rows.delete(id);
  if (focused !== document.activeElement && focused.isConnected) focused.focus(); // its row has moved to another day
};

export const start = () => {
  find("#conversations").append(h("nav", { "aria-label": t("Conversations") }));
  sidebarButton()?.setAttribute("aria-label", t("List of conversations"));
  search.start();
  folders.start();
  onListChange(render);
  onChange((what) => {
    if (what === "item" && open.item) placeInLists(open.item);
    else if (what !== "entries") render();
  });
  render();
};
