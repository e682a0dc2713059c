// The menu of a conversation: rename, pin, archive, copy its link, share a copy, print, download, delete.
import { call, loadModule, pathOf } from "./api.js";
import { copyText } from "./clipboard.js";
import { open, setItem } from "./conversation.js";
import { itemOf, listChanged, placeInLists, removeFromLists, titleOf } from "./conversation_lists.js";
import { find, menu } from "./dom.js";
import { library } from "./library.js";
import { addressOf, openConversation } from "./navigation.js";
import { attempt, showToast } from "./notices.js";
import { printConversation } from "./printing.js";
import { renameIn } from "./renaming.js";
import { shareSetting } from "./share_setting.js";
import { t } from "./words.js";

export const actions = (button, item) =>
  menu(button, titleOf(item), [
    !item.temporary && ["edit", t("Rename"), () => rename(item)],
    !item.temporary && ["pin", item.pinned ? t("Unpin") : t("Pin"), () => patch(item, { pinned: !item.pinned })],
    !item.temporary && library.most > 0 && ["folder", t("Move to folder"), () => move(button, item)],
    !item.temporary && [
      "archive",
      item.archived ? t("Unarchive") : t("Archive"),
      () => setArchived(item, !item.archived),
    ],
    !item.temporary && ["link", t("Copy link"), () => copyLink(item)],
    !item.temporary && shareSetting.who !== "off" && ["share", t("Share a copy"), () => share(item)],
    item.id === open.id && ["print", t("Print or save as PDF"), printConversation],
    !item.temporary && ["download", t("Download as Markdown"), () => download(item, "md")],
    !item.temporary && ["download", t("Download as JSON"), () => download(item, "json")],
    ["trash", t("Delete"), () => remove(item)],
  ]);

const showChanged = (item) => (item.id === open.id ? setItem(item) : placeInLists(item));
const nowOf = (item) => (item.id === open.id && open.item) || itemOf(item.id) || item;

// Change a conversation, on the page at once, so that a menu opened meanwhile shows the new state. The response to an
// earlier change must not undo a later one.
const lastChanges = new Map(); // conversation -> its last change without a response
export const patch = (item, changes) =>
  attempt(async () => {
    const before = nowOf(item);
    lastChanges.set(item.id, changes);
    showChanged({ ...before, ...changes });
    const now = await call("PATCH", pathOf(item.id), changes).catch((error) => {
      const reverted = Object.keys(changes).map((key) => [key, before[key]]);
      showChanged({ ...nowOf(item), ...Object.fromEntries(reverted) });
      throw error;
    });
    if (lastChanges.get(item.id) === changes) {
      lastChanges.delete(item.id);
      showChanged(now);
    }
    return now;
  });

const download = (item, ending) =>
  attempt(async () => (await loadModule("downloads")).download(`export/${encodeURIComponent(item.id)}.${ending}`));

const setArchived = async (item, archived) => {
  if (await patch(item, { archived }))
    showToast(archived ? t("Conversation archived.") : t("Conversation unarchived."), {
      undo: () => patch(item, { archived: !archived }),
    });
};

const copyLink = (item) =>
  copyText(new URL(addressOf(item.id), document.baseURI).href, t("Link copied. Only you can open it."));

const move = (button, item) => attempt(async () => (await loadModule("library_menus")).moveMenu(button, nowOf(item)));

const share = (item) => attempt(async () => (await loadModule("sharing")).open(item, shareSetting.who));

const rename = (item) => {
  const row = find(`#conversations [data-id="${CSS.escape(item.id)}"]`);
  const isListed = row?.checkVisibility?.({ visibilityProperty: true }); // or the list is out of sight
  renameIn(isListed ? row : find("#header h1"), item.title, {
    save: (title) => patch(item, { title }),
    done: listChanged,
  });
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
