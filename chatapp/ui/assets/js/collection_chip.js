// The chip above the message box that names the collection of the conversation. Loaded with the first one.
import { chooseCollection } from "./library_choice.js";
import { onChange } from "./conversation.js";
import "./documents_note.js"; // which says where its texts go
import { find, h, icon, iconButton, keepingFocus } from "./dom.js";
import { onLibrary, openCollection, openFolder, openKnowledge, ownCollection } from "./library.js";
import { t } from "./words.js";

const place = h("div", { id: "collection" });
let shown = "";

const update = () => {
  const [collection, folder] = [openCollection(), openFolder()];
  const own = ownCollection();
  const now = collection ? JSON.stringify([collection.id, collection.name, Boolean(own), folder?.name]) : "";
  if (now === shown) return;
  shown = now;
  keepingFocus(place, () => place.replaceChildren(...(collection ? [chip(collection, own ? null : folder)] : [])));
};

const chip = ({ id, name }, folder) =>
  h(
    "span",
    { class: "chip" },
    icon("book"),
    h(
      "button",
      { type: "button", class: "link", onclick: () => openKnowledge(id) },
      folder ? t("{name} (of the folder {folder})", { name, folder: folder.name }) : t("Knowledge: {name}", { name }),
    ),
    !folder && iconButton("close", t("Stop using {name}", { name }), () => chooseCollection("")),
  );

find("#message").before(place);
onChange(update);
onLibrary(update);
update();
