// The header: the title of the open conversation, its menu, and the button for a temporary chat.
import { actions } from "./conversation_actions.js";
import { onChange, open } from "./conversation.js";
import { titleOf } from "./conversation_lists.js";
import { directionOf } from "./text_direction.js";
import { find, h, icon, iconButton } from "./dom.js";
import { onLibrary, openFolder } from "./library.js";
import { openConversation } from "./navigation.js";
import { finishRenaming } from "./renaming.js";
import { t } from "./words.js";

const update = () => {
  const folder = openFolder()?.name || "";
  const ofNew = open.isTemporary ? t("Temporary chat") : folder && t("New chat in {folder}", { folder });
  const text = open.item ? titleOf(open.item) : ofNew;
  find("#header .folder").hidden = !folder || !open.item;
  find("#header .folder bdi").textContent = folder;
  const title = find("#header h1 > bdi"); // beside it may be the box that renames it
  title.textContent = text;
  title.dir = directionOf(text);
  const name = t("Hybrid chat");
  document.title = text ? `${text} · ${name}` : name;
  find("#more").hidden = !open.item;
  find("#temporary").hidden = Boolean(open.id);
  find("#temporary").setAttribute("aria-pressed", String(open.isTemporary));
};

export const start = () => {
  find("#header").append(
    h("span", { class: "folder", hidden: true }, icon("folder"), h("span", { class: "unseen" }, t("Folder")), h("bdi")),
    h("h1", {}, h("bdi")),
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
  onLibrary(update);
  onChange((what) => {
    if (what === "opened") finishRenaming(); // Back leaves the box with a name half typed
    if (what !== "entries") update();
  });
  update();
};
