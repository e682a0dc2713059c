// The menus that choose a collection or a folder, and the menu of a folder.
import { call } from "./api.js";
import { chooseCollection, moveToFolder } from "./library_choice.js";
import { confirmed, h, icon, menu, openMenu } from "./dom.js";
import { openFolderRow } from "./folders.js";
import * as folderSettings from "./folder_settings.js";
import { changed, folderById, library, openKnowledge, ownCollection } from "./library.js";
import { openConversation } from "./navigation.js";
import { attempt } from "./notices.js";
import { t } from "./words.js";

const openSettings = (id, done) => attempt(() => folderSettings.open(id, done));

const item = (list, iconName, content, action, properties = {}) =>
  h(
    "button",
    { type: "button", role: "menuitem", tabindex: "-1", ...properties, onclick: () => (list.hidePopover(), action()) },
    icon(iconName),
    content,
  );

// A menu of things with names, of which at most one is chosen. `none`: words of the item that chooses no thing; `others`:
// more items, each [icon, words, action].
const choice = (button, label, { iconName, things, chosen, choose, none, others }) => {
  const list = h("div", { popover: "auto", role: "menu", class: "menu choices", "aria-label": label });
  const radio = (id, content) =>
    item(list, id === chosen ? "check" : iconName, content, () => choose(id), {
      role: "menuitemradio",
      "aria-checked": String(id === chosen),
    });
  list.append(
    ...things.map(({ id, name }) => radio(id, h("bdi", {}, name))),
    ...(chosen ? [item(list, "close", none, () => choose(""))] : []),
    ...others.map(([picture, words, action]) => item(list, picture, words, action)),
  );
  openMenu(button, list, list.querySelector("[aria-checked=true]") || list.firstElementChild);
};

// Choose the collection of the open conversation.
export const collectionMenu = (button) =>
  choice(button, t("Knowledge"), {
    iconName: "book",
    things: library.collections,
    chosen: ownCollection()?.id || "",
    choose: chooseCollection,
    none: t("No collection"),
    others: [["edit", t("Manage collections"), () => openKnowledge()]],
  });

// Move a conversation to a folder.
export const moveMenu = (button, conversation) =>
  choice(button, t("Move to folder"), {
    iconName: "folder",
    things: library.folders,
    chosen: folderById(conversation.folder)?.id || "",
    choose: (id) => moveToFolder(conversation, id),
    none: t("Remove from the folder"),
    others: [["plus", t("New folder"), () => openSettings(null, (id) => moveToFolder(conversation, id))]],
  });

export const folderMenu = (button, id) => {
  const folder = folderById(id);
  menu(button, folder.name, [
    ["edit", t("New chat in this folder"), () => (openFolderRow(id), openConversation("", { folder: id }))],
    ["sliders", t("Name, instructions and knowledge"), () => openSettings(id)],
    ["trash", t("Delete"), () => remove(folder)],
  ]);
};

const remove = async ({ id, name }) => {
  const question = t("Delete the folder {name}? Its conversations stay in your list.", { name });
  if (!(await confirmed(question, t("Delete"), t("Cancel")))) return;
  await attempt(async () => {
    await call("DELETE", `folders/${encodeURIComponent(id)}`);
    await changed();
  });
};
