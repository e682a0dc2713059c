// The dialog of a folder: its name, and the instructions and the collection of its conversations.
import { call } from "./api.js";
import { h, iconButton } from "./dom.js";
import { openFolderRow } from "./folders.js";
import { changed, folderById, library, reload } from "./library.js";
import { newId } from "./stream.js";
import { t } from "./words.js";

const MOST_NAME = 100; // characters; chatapp/domain/library.py
const MOST_INSTRUCTIONS = 20_000;

const field = (label, input, help) => h("label", {}, label, input, help && h("span", { class: "quiet" }, help));

// Open the dialog of the folder `id`, or of a new one. `done(id)` is called when it was saved.
export const open = async (id = null, done = () => {}) => {
  await reload(); // with the instructions, which the page does not have yet
  const folder = folderById(id) || { name: "", instructions: "", collection: "" };
  const idOfNew = newId(); // the same one for a retry
  const title = id ? t("Folder") : t("New folder");
  const refusal = h("p", { class: "refusal", role: "alert" });
  const name = h("input", { required: true, maxlength: MOST_NAME, dir: "auto", value: folder.name, autofocus: true });
  const instructions = h("textarea", { rows: 5, maxlength: MOST_INSTRUCTIONS, dir: "auto" }, folder.instructions);
  const collection = h(
    "select",
    {},
    h("option", { value: "" }, t("No collection")),
    library.collections.map((one) => h("option", { value: one.id, selected: one.id === folder.collection }, one.name)),
  );
  const save = async (event) => {
    event.preventDefault();
    const now = { name: name.value.trim(), instructions: instructions.value.trim(), collection: collection.value };
    if (!now.name || button.disabled) return;
    [button.disabled, refusal.textContent] = [true, ""];
    try {
      const saved = await call(id ? "PATCH" : "POST", id ? `folders/${encodeURIComponent(id)}` : "folders", id ? now : { ...now, id: idOfNew });
      await changed();
      dialog.close();
      if (!id) openFolderRow(saved.id);
      done(saved.id);
    } catch (error) {
      refusal.textContent = error.message;
    }
    button.disabled = false;
  };
  const button = h("button", { type: "submit", class: "primary" }, t("Save"));
  const dialog = h(
    "dialog",
    { id: "folder", class: "form", "aria-label": title, onclose: () => dialog.remove() },
    h(
      "header",
      {},
      h("h2", {}, title),
      iconButton("close", t("Close"), () => dialog.close()),
    ),
    refusal,
    h(
      "form",
      { onsubmit: save },
      field(t("Name"), name),
      field(t("Instructions"), instructions, t("For all conversations in this folder.")),
      field(t("Knowledge"), collection, t("For the conversations in this folder that choose no collection of their own.")),
      h("div", { class: "row" }, h("button", { type: "button", onclick: () => dialog.close() }, t("Cancel")), button),
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
};
