// The files of a question: images and documents that are picked, pasted or dropped. The first of them loads what uploads and
// shows them (attachment_box.js).
import { loadModule } from "./api.js";
import { find, h, icon, menu } from "./dom.js";
import { library } from "./library.js";
import { attempt } from "./notices.js";
import { t } from "./words.js";

const IMAGES = "image/*,.heic,.heif,.avif"; // what the browser cannot read is refused with what to do

let limitsCame;
export const limits = new Promise((resolve) => (limitsCame = resolve)); // of the server, once the page has them
let box = null;
let adding = Promise.resolve();

const inTurn = (action) => {
  const run = () =>
    attempt(async () => {
      box ||= await loadModule("attachment_box");
      await action(box, await limits);
    });
  return (adding = adding.then(run, run));
};

export const add = (files) => inTurn((it, most) => it.add(files, most));
// Add the files of dropped folders: entries of the browser's file system.
export const addFolders = (entries) => inTurn((it, most) => it.addFolders(entries, most));
export const clear = () => box?.clear();
export const problem = () => box?.problem() || "";

// Upload what is not at the chat yet, nor those of the ids `missing`; return all as a message names them. Throws a Refusal.
export const uploaded = async (missing) => {
  await adding;
  return box ? box.uploaded(missing) : { images: [] };
};

// The documents of the box, for a draft that outlives this page, and back.
export const draftDocuments = () => box?.draftDocuments() || [];
export const restoreDocuments = (documents) => documents?.length && inTurn((it) => it.restoreDocuments(documents));

// The limits of a message: {images, imageSide: px, imageBytes, documents, documentBytes, attachmentBytes: of all together as
// they are stored, 0 for no limit}; 0 images or documents: turned off.
export const setLimits = (now) => {
  limitsCame(now);
  const label = !now.documents ? t("Add images") : now.images ? t("Add images and documents") : t("Add documents");
  const [button, input] = [find("#add-files"), find("#add-files + input")];
  [button, input].forEach((element) => element.setAttribute("aria-label", label));
  button.title = label;
  button.hidden = !now.images && !now.documents;
  button.dataset.icon = now.documents ? "clip" : "image";
  button.replaceChildren(icon(library.most ? "plus" : button.dataset.icon));
  if (!now.documents) input.accept = IMAGES;
};

export const start = () => {
  const properties = { type: "file", multiple: true, class: "unseen", tabindex: "-1", "aria-hidden": "true" };
  const input = h("input", { ...properties, "aria-label": t("Add images") });
  const addOrChoose = ({ currentTarget: button }) => {
    if (!library.most) return input.click();
    const chooseCollection = () => attempt(async () => (await loadModule("library_menus")).collectionMenu(button));
    const label = button.getAttribute("aria-label");
    menu(button, label, [
      [button.dataset.icon, label, () => input.click()],
      ["book", t("Knowledge"), chooseCollection],
    ]);
  };
  input.addEventListener("change", () => (add([...input.files]), (input.value = "")));
  find("#tools .chat-tools").append(
    h(
      "button",
      { type: "button", id: "add-files", "aria-label": t("Add images"), onclick: addOrChoose },
      icon("image"),
    ),
    input,
  );
};
