// The list of conversations by day, with the menu of each, and the search through all of them.
import { call, pathOf } from "./api.js";
import { onChange, open, show } from "./conversation.js";
import { directionOf } from "./direction.js";
import { copyText, find, h, icon, iconButton, menu } from "./dom.js";
import { isSidebarOpen, messageBox, searchBox, sidebarButton } from "./gradio_bridge.js";
import { scrollToMessage } from "./messages.js";
import { attempt, showToast } from "./notices.js";
import { dayGroup, t } from "./words.js";

const SEARCH_AFTER = 200; // ms without another letter
const CLEARED_BELOW = 769; // px: the sidebar covers the page there

const list = { pinned: [], items: [], cursor: null };
const archive = { items: [], cursor: null, isOpen: false };
let query = "";
let hits = null; // {items, cursor} while something is searched for

export const setConversations = ({ pinned = [], items, cursor }) => {
  Object.assign(list, { pinned, items, cursor });
  renderList();
};

const itemOf = (id) => [...list.pinned, ...list.items, ...archive.items].find((item) => item.id === id);

const without = (items, id) => items.filter((item) => item.id !== id);

// Move a conversation to the list and the position of its current state.
const placeInLists = (item) => {
  if (item.temporary) return;
  for (const section of [list, archive]) section.items = without(section.items, item.id);
  list.pinned = without(list.pinned, item.id);
  const byTime = (a, b) => b.updated - a.updated;
  if (item.archived) archive.items = [item, ...archive.items].sort(byTime);
  else if (item.pinned) list.pinned = [item, ...list.pinned].sort(byTime);
  else list.items = [item, ...list.items].sort(byTime);
  renderList();
};

const removeFromLists = (id) => {
  list.items = without(list.items, id);
  list.pinned = without(list.pinned, id);
  archive.items = without(archive.items, id);
  renderList();
};

const addressOf = (id) => (id ? `c/${encodeURIComponent(id)}` : "./");
const titleOf = (item) => item?.title || t("New chat");
const directed = (text, ...content) => h("bdi", { dir: directionOf(text) }, ...(content.length ? content : [text]));
const titleText = (item) => directed(titleOf(item));

// Open a conversation and put its id into the address, for bookmarks, Back and a reload.
export const openConversation = (id, { replace = false, isTemporary = false, message = "" } = {}) => {
  const address = new URL(addressOf(id), document.baseURI);
  if (address.href !== location.href) history[replace ? "replaceState" : "pushState"]({}, "", address);
  show(id, itemOf(id) || null, { isTemporary });
  if (message) scrollToMessage(message);
  closeOnPhone();
  if (!message && matchMedia("(hover: hover)").matches) messageBox()?.focus();
};

export const idInAddress = () => /\/c\/([A-Za-z0-9-]+)$/.exec(location.pathname)?.[1] || "";

const isPhone = () => innerWidth < CLEARED_BELOW;
const closeOnPhone = () => isPhone() && isSidebarOpen() && sidebarButton()?.click();

const link = (item, ...content) =>
  h(
    "a",
    {
      href: addressOf(item.id),
      "aria-current": item.id === open.id ? "page" : null,
      onclick: (event) => {
        if (event.ctrlKey || event.metaKey || event.shiftKey) return; // opens a new tab or window
        event.preventDefault();
        openConversation(item.id);
      },
    },
    ...content,
  );

const row = (item) =>
  h(
    "li",
    { "data-id": item.id, class: item.id === open.id ? "open" : "" },
    link(item, titleText(item), item.writing && h("span", { class: "dot", title: t("Writing…") })),
    iconButton(
      "dots",
      t("More about {title}", { title: titleOf(item) }),
      (event) => actions(event.currentTarget, item),
      { "aria-haspopup": "menu" },
    ),
  );

const group = (title, items, picture) =>
  items.length > 0 && [h("h2", {}, picture && icon(picture), title), h("ul", {}, items.map(row))];

const byDay = (items) => {
  const groups = new Map();
  for (const item of items) {
    const title = dayGroup(item.updated);
    groups.set(title, [...(groups.get(title) || []), item]);
  }
  return [...groups].map(([title, its]) => group(title, its));
};

const moreButton = (section, path) =>
  section.cursor &&
  h("button", { type: "button", class: "link", onclick: () => loadMore(section, path) }, t("Show older conversations"));

const loadMore = (section, path) =>
  attempt(async () => {
    const page = await call("GET", `${path}&cursor=${encodeURIComponent(section.cursor)}`);
    const items = page.items || page.hits;
    const listedIds = new Set(section.items.map((item) => item.id));
    section.items = [...section.items, ...items.filter((item) => !item.id || !listedIds.has(item.id))];
    section.cursor = page.cursor;
    renderList();
  });

const listContent = () => {
  if (hits) return searchResults();
  return [
    group(t("Pinned"), list.pinned, "pin"),
    ...byDay(list.items),
    moreButton(list, "conversations?archived=0"),
    !list.items.length &&
      !list.pinned.length &&
      h("p", { class: "quiet" }, t("Your conversations will appear here.")),
    h(
      "details",
      { open: archive.isOpen, ontoggle: (event) => openArchive(event.currentTarget.open) },
      h("summary", {}, icon("archive"), t("Archived")),
      h("ul", {}, archive.items.map(row)),
      moreButton(archive, "conversations?archived=1"),
    ),
  ];
};

const openArchive = (isOpen) => {
  if (isOpen === archive.isOpen) return;
  archive.isOpen = isOpen;
  if (isOpen)
    attempt(async () => (Object.assign(archive, await call("GET", "conversations?archived=1")), renderList()));
};

const searchResults = () => [
  h(
    "h2",
    { role: "status" },
    hits.items.length
      ? t("Results: {number}", { number: hits.items.length })
      : hits.cursor
        ? t("No results so far")
        : t("No results"),
  ),
  h(
    "ul",
    { class: "hits" },
    hits.items.map((hit) =>
      h(
        "li",
        {},
        h(
          "a",
          {
            href: addressOf(hit.conversation.id),
            onclick: (event) => {
              event.preventDefault();
              openConversation(hit.conversation.id, { message: hit.message });
            },
          },
          h("b", {}, titleText(hit.conversation)),
          h(
            "span",
            {},
            directed(hit.before + hit.match + hit.after, hit.before, h("mark", {}, hit.match), hit.after),
          ),
        ),
      ),
    ),
  ),
  moreButton(hits, `search?q=${encodeURIComponent(query)}`),
];

const renderList = () => {
  const place = find("#conversations nav");
  const focused = place.contains(document.activeElement) && document.activeElement.closest("[data-id]")?.dataset.id;
  place.replaceChildren(...listContent().flat(2).filter(Boolean));
  if (focused) find(`[data-id="${CSS.escape(focused)}"] a`, place)?.focus();
};

let timer = 0;
const search = (text) => {
  clearTimeout(timer);
  query = (text || "").trim();
  if (!query) {
    hits = null;
    return renderList();
  }
  const searched = query;
  timer = setTimeout(
    () =>
      attempt(async () => {
        const page = await call("GET", `search?q=${encodeURIComponent(searched)}`);
        if (searched !== query) return; // the search text has changed meanwhile
        hits = { items: page.hits, cursor: page.cursor };
        renderList();
      }),
    SEARCH_AFTER,
  );
};

const showChanged = (item) => {
  if (item.id === open.id) Object.assign(open, { item });
  placeInLists(item);
  renderHeader();
};

// Change a conversation, on the page at once, so that a menu opened meanwhile shows the new state.
const patch = (item, changes) =>
  attempt(async () => {
    showChanged({ ...item, ...changes });
    const now = await call("PATCH", pathOf(item.id), changes).catch((error) => {
      showChanged(item);
      throw error;
    });
    showChanged(now);
    return now;
  });

export const actions = (button, item) =>
  menu(button, titleOf(item), [
    !item.temporary && ["edit", t("Rename"), () => rename(item)],
    !item.temporary && ["pin", item.pinned ? t("Unpin") : t("Pin"), () => patch(item, { pinned: !item.pinned })],
    !item.temporary && [
      "archive",
      item.archived ? t("Unarchive") : t("Archive"),
      () => setArchived(item, !item.archived),
    ],
    !item.temporary && ["link", t("Copy link"), () => copyLink(item)],
    !item.temporary && ["download", t("Download as Markdown"), `export/${encodeURIComponent(item.id)}.md`],
    !item.temporary && ["download", t("Download as JSON"), `export/${encodeURIComponent(item.id)}.json`],
    ["trash", t("Delete"), () => remove(item)],
  ]);

const setArchived = async (item, archived) => {
  if (await patch(item, { archived }))
    showToast(archived ? t("Conversation archived.") : t("Conversation unarchived."), {
      undo: () => patch(item, { archived: !archived }),
    });
};

const copyLink = async (item) => {
  await copyText(new URL(addressOf(item.id), document.baseURI).href);
  showToast(t("Link copied. Only you can open it."));
};

const rename = (item) => {
  const place = find(`#conversations [data-id="${CSS.escape(item.id)}"]`);
  const box = h("input", { value: item.title, maxlength: 200, dir: "auto", "aria-label": t("Title") });
  const isListed = place?.checkVisibility?.({ visibilityProperty: true }); // or the list is out of sight
  let isDone = false;
  const finish = async (isSaved) => {
    if (isDone) return;
    isDone = true;
    const now = box.value.trim();
    if (isSaved && now && now !== item.title) await patch(item, { title: now });
    renderList();
    renderHeader();
  };
  box.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.isComposing) finish(true);
    if (event.key === "Escape") finish(false);
  });
  box.addEventListener("blur", () => finish(true));
  (isListed ? place : find("#header h1")).replaceChildren(box);
  box.focus();
  box.select();
};

const remove = (item) =>
  attempt(async () => {
    const { undoSeconds = 0 } = await call("DELETE", pathOf(item.id));
    removeFromLists(item.id);
    if (open.id === item.id) openConversation("", { replace: true });
    const undo = async () => {
      const back = await attempt(() => call("POST", pathOf(item.id, "/restore"), {}));
      if (back) (placeInLists(back), openConversation(back.id));
    };
    showToast(t("Deleted: {title}", { title: titleOf(item) }), undoSeconds ? { seconds: undoSeconds, undo } : {});
  });

const renderHeader = () => {
  const title = open.item ? titleOf(open.item) : open.isTemporary ? t("Temporary chat") : "";
  const heading = find("#header h1");
  heading.replaceChildren(directed(title));
  document.title = title ? `${title} · Hybrid chat` : "Hybrid chat";
  find("#more").hidden = !open.item;
  find("#temporary").hidden = Boolean(open.id);
  find("#temporary").setAttribute("aria-pressed", String(open.isTemporary));
};

export const start = () => {
  find("#conversations").append(h("nav", { "aria-label": t("Conversations") }));
  find("#header").append(
    h("h1"),
    h("span", { class: "persona" }),
    h(
      "div",
      { class: "header-tools" },
      iconButton(
        "ghost",
        t("Temporary chat: never stored"),
        () => openConversation("", { replace: true, isTemporary: !open.isTemporary }),
        { id: "temporary" },
      ),
      iconButton("dots", t("More about this conversation"), (event) => actions(event.currentTarget, open.item), {
        id: "more",
        "aria-haspopup": "menu",
      }),
    ),
  );
  searchBox().addEventListener("input", (event) => search(event.target.value));
  sidebarButton()?.setAttribute("aria-label", t("List of conversations"));
  onChange((what) => {
    if (what === "entries") return;
    if (what === "item" && open.item) {
      placeInLists(open.item);
      // A conversation has an address from its first message on.
      if (idInAddress() !== open.id) history.replaceState({}, "", new URL(addressOf(open.id), document.baseURI));
    }
    renderHeader();
    renderList();
  });
  addEventListener("popstate", () => show(idInAddress(), itemOf(idInAddress()) || null));
  if (isPhone()) closeOnPhone();
  renderHeader();
  renderList();
};
