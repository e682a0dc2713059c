// The line that says where the text of documents goes, while a message or its conversation's collection has any, and when
// another model is chosen for a conversation that has. (Another model may answer in place of one that is not ready only if
// it runs at the same place.)
import { onChange, open } from "./conversation.js";
import { find, h } from "./dom.js";
import { onLibrary, openCollection } from "./library.js";
import { byId, chosenModel, embeddingsPlaceName, onChoice, placeName } from "./models.js";
import { current, onParameters } from "./parameters.js";
import { language, t } from "./words.js";

const lists = new Intl.ListFormat(language, { type: "conjunction" });

const nameOf = (model) => {
  const place = placeName(model.place);
  return place ? t("{model} ({place})", { model: model.label, place }) : model.label;
};

let isAttached = () => false; // whether the message in the box has documents

const isForAnotherModel = (models) => {
  if (!open.entries.some(({ documents }) => documents?.length)) return false;
  const last = open.entries.findLast(({ role }) => role === "assistant");
  return Boolean(last) && models.some(({ id }) => id !== last.model);
};

export const updateNote = () => {
  const models = [chosenModel(), byId(current.compareWith?.model)].filter(Boolean);
  const names = [...new Set(models.map(nameOf))];
  const isShown = names.length && (isAttached() || openCollection() || isForAnotherModel(models));
  const place = embeddingsPlaceName();
  const words =
    isShown &&
    [
      t("The text of your documents goes to {models}.", { models: { translated: lists.format(names) } }),
      ...(place ? [t("An embedding model {place} reads it too, to find passages.", { place })] : []),
    ].join(" ");
  if (note.textContent !== (words || "")) note.textContent = words || ""; // a screen reader would repeat it
};

const note = h("div", { id: "documents-note", class: "quiet", role: "status" });
find("#message").before(note);
onChoice(updateNote);
onParameters(updateNote);
onChange(updateNote);
onLibrary(updateNote);
updateNote();

// `hasDocuments()` tells whether the message in the box has documents.
export const noteFor = (hasDocuments) => {
  isAttached = hasDocuments;
};
