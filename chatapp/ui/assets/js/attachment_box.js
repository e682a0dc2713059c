// The images and documents of the box: added, uploaded and shown. Loaded with the first of them. Images are scaled down
// here; documents are read by the chat, one after the other.
import { errorText, fetchApi, fileOptions, loadModule, Refusal } from "./api.js";
import { open } from "./conversation.js";
import { contentOf } from "./document_file.js";
import { factsOf, nameAndFacts, shownName } from "./documents.js";
import { noteFor, updateNote } from "./documents_note.js";
import { find, h, icon, iconButton, keepingFocus } from "./dom.js";
import { chosenModel } from "./models.js";
import { showError, showToast } from "./notices.js";
import { postPatiently } from "./stream.js";
import { sendTelling } from "./upload_progress.js";
import { fileSize, percent, t } from "./words.js";

const IMAGE_NAME = /\.(?:avif|bmp|gif|hei[cf]|jpe?g|png|svg|tiff?|webp)$/i;
const LARGE = 1_000_000; // bytes: smaller ones are sent in a moment
const REFUSED = [400, 413, 415, 422]; // it will not be different with the question

// {isDocument, blob, id: of the upload, "" before, uploading: a promise while it is uploaded, hasFailed, stop: aborts it,
// stored: bytes that it takes in the history}. An image has a {url}, a document {name, size}, and {kind, pages} once it was
// read. A draft's has no blob.
let attached = [];
let sent = []; // those that the message being sent names
let refusals = []; // of the files that were added last
let mostStored = 0; // bytes of all of them, 0 for no limit

const ofKind = (isDocument) => attached.filter((item) => item.isDocument === isDocument);

const discard = (items) => {
  items.forEach(({ url, stop }) => (url && URL.revokeObjectURL(url), stop.abort()));
  attached = attached.filter((item) => !items.includes(item));
};

// Remove the files that were sent.
export const clear = () => {
  discard(sent);
  [sent, refusals] = [[], []];
  update();
};

const send = async (item, post) => {
  if (item.stop.signal.aborted) return; // removed while it waited
  if (!item.blob) {
    discard([item]);
    const words = t(
      "{name} was added too long ago. Nothing was sent; your text is still in the box. Add the file again, then send again.",
      { name: item.name },
    );
    throw new Refusal(words, 409);
  }
  const isTemporary = open.isTemporary || open.item?.temporary;
  const query = new URLSearchParams({
    model: chosenModel()?.id || "",
    ...(item.isDocument && { name: item.name, ...(isTemporary && { temporary: true }) }),
  });
  const response = await post(`${item.isDocument ? "documents" : "images"}?${query}`, fileOptions(item.blob));
  if (!response) throw new Refusal(t("The chat is unreachable. Nothing was changed; try again in a moment."), 0);
  if (!response.ok) {
    const words = await errorText(response);
    if (item.isDocument && REFUSED.includes(response.status)) discard([item]); // which would abort the response
    throw new Refusal(words, response.status);
  }
  const { id, kind, pages, stored } = await response.json();
  if (item.isDocument) checkBytes(item.name, stored, item);
  Object.assign(item, { id, kind, pages, ...(item.isDocument && { stored }) });
};

// The history takes so many bytes of one message. What a document takes is known once it was read.
const checkBytes = (name, bytes, item = null) => {
  const others = attached.filter((it) => it !== item).reduce((sum, { stored = 0 }) => sum + stored, 0);
  if (!mostStored || others + bytes <= mostStored) return;
  if (item) discard([item]);
  const words = t(
    "{name} was not added: the history takes {most} of images and texts of documents in one message. Send it with another message.",
    { name, most: fileSize(mostStored) },
  );
  throw new Refusal(words, 413);
};

let reading = Promise.resolve(); // the chat reads the documents of a user one after the other
const sendInTurn = (item, post) => {
  if (!item.isDocument) return send(item, post);
  const sending = reading.then(() => send(item, post));
  reading = sending.catch(() => {});
  return sending;
};

// Upload a file once, however many ask for it. Throws a Refusal.
const upload = (item, post) =>
  (item.uploading ||= (async () => {
    try {
      item.hasFailed = false;
      await sendInTurn(item, post);
    } finally {
      item.uploading = null;
      item.hasFailed = !item.id;
      draw();
    }
  })());

// Upload the files of the box that are not at the chat yet, and return them all as a message names them. The chat forgets
// uploads after a while, or when it restarts: those that it misses are uploaded again. Throws a Refusal.
export const uploaded = async (missing = []) => {
  for (const item of attached) if (missing.includes(item.id)) item.id = "";
  await Promise.allSettled(attached.map(({ uploading }) => uploading));
  const uploads = attached.map((item) => item.id || upload(item, postPatiently));
  draw();
  await Promise.all(uploads);
  sent = attached.filter(({ id }) => id);
  const named = (isDocument) => sent.filter((item) => item.isDocument === isDocument).map(({ id }) => ({ id }));
  const documents = named(true);
  return { images: named(false), ...(documents.length && { documents }) };
};

// Upload a file while its question is being written. What goes wrong now is tried again with the question.
const uploadEarly = async (item) => {
  if (!item.isDocument && problem()) return;
  try {
    const telling = item.isDocument ? sendTelling((share) => showShare(item, share)) : undefined;
    await upload(item, (path, request) => fetchApi(path, { ...request, signal: item.stop.signal }, telling));
  } catch (error) {
    if (!(error instanceof Refusal)) return; // the connection, or it was removed
    if (item.isDocument || REFUSED.includes(error.status)) refusals.push(error.message);
    update();
  }
};

// Why the images cannot be sent to the chosen model, "" if they can.
export const problem = () => {
  const model = chosenModel();
  if (!ofKind(false).length || !model || model.images) return "";
  return t("{model} does not support images. Choose a model that does, or remove the images.", { model: model.label });
};

const update = () => {
  draw();
  showError([problem(), ...new Set(refusals)].filter(Boolean).join(" "));
};

// --- What the box shows ---

const draw = () => {
  const box = find("#attachments");
  const numbers = new Map(ofKind(false).map((item, i) => [item, i + 1]));
  const chips = attached.map((item) => (item.isDocument ? documentChip(item) : thumbnail(item, numbers.get(item))));
  keepingFocus(box, () => box.replaceChildren(...chips));
  updateNote();
};

const removeButton = (item, label) =>
  iconButton("close", label, () => {
    discard([item]);
    update();
    (find("#attachments button") || find("#add-files")).focus();
  });

const thumbnail = (item, number) => {
  item.image ||= h("img", { src: item.url });
  item.image.alt = t("Image {number}", { number });
  return h(
    "span",
    { class: item.id ? "thumbnail" : "thumbnail uploading" },
    item.image,
    removeButton(item, t("Remove image {number}", { number })),
  );
};

// How much of a large document is sent.
const showShare = (item, share) => {
  const now = item.size < LARGE || share === 1 ? "" : percent(share);
  if (item.share === now) return;
  item.share = now;
  draw();
};

const documentChip = (item) => {
  const uploading = item.share ? t("Uploading: {share}", { share: item.share }) : t("Reading…");
  const state = item.hasFailed ? t("not uploaded yet") : uploading;
  const retry = () => (uploadEarly(item), (refusals = []), update());
  return h(
    "span",
    { class: item.id || item.hasFailed ? "document" : "document uploading" },
    icon("file"),
    nameAndFacts(item.name, item.id ? factsOf(item) : state),
    item.hasFailed && iconButton("again", t("Upload {name} again", { name: shownName(item.name) }), retry),
    removeButton(item, t("Remove {name}", { name: shownName(item.name) })),
  );
};

// --- What is added ---

const attach = (item) => {
  attached = [...attached, { id: "", uploading: null, hasFailed: false, stop: new AbortController(), ...item }];
  return attached.at(-1);
};

const isImageFile = (file) => file.type.startsWith("image/") || IMAGE_NAME.test(file.name);

const addImage = async (file, limits) => {
  if (!limits.images) throw new Error(t("Images are turned off in this chat. Send the message without images."));
  const checkRoom = () => {
    if (ofKind(false).length >= limits.images)
      throw new Error(t("A message can have at most {number} images.", { number: limits.images }));
  };
  checkRoom();
  const { prepareImage } = await loadModule("image_scaling");
  const { blob, note } = await prepareImage(file, limits);
  checkRoom(); // others may have been dropped meanwhile
  checkBytes(file.name || t("Image"), blob.size);
  uploadEarly(attach({ isDocument: false, url: URL.createObjectURL(blob), blob, stored: blob.size }));
  if (note) showToast(note);
};

const addDocument = async (file, limits) => {
  const { name, size } = file;
  const content = await contentOf(file, name, limits.documentBytes);
  if (ofKind(true).length >= limits.documents)
    throw new Error(t("A message can have at most {number} documents.", { number: limits.documents }));
  const blob = new Blob([content], { type: "application/octet-stream" });
  uploadEarly(attach({ isDocument: true, name, size, blob }));
};

// Add the files in dropped folders.
export const addFolders = async (entries, limits) => {
  const { files, unread, isCut } = await (await loadModule("folder_files")).filesOf(entries);
  const all = files.map(({ file }) => file);
  const room = limits.documents - ofKind(true).length;
  const documents = all.filter((file) => !isImageFile(file));
  const words = [
    !all.length && !unread.length && t("There are no files in this folder."),
    unread.length > 0 && t("The browser could not read: {names}.", { names: { names: unread.slice(0, 5) } }),
    documents.length > 0 &&
      !limits.documents &&
      t("Documents are turned off in this chat. Send the message without documents."),
    limits.documents > 0 &&
      (isCut || documents.length > room) &&
      t("There are {number} documents in what was dropped, and a message can have at most {most}. The first ones were added.", {
        number: documents.length,
        most: limits.documents,
      }),
  ].filter(Boolean);
  await add([...documents.slice(0, Math.max(0, room)), ...all.filter(isImageFile)], limits);
  refusals.unshift(...words);
  update();
};

// Add files, within `limits` (see attachments.js).
export const add = async (files, limits) => {
  refusals = [];
  mostStored = limits.attachmentBytes;
  for (const file of files) {
    const isImage = isImageFile(file) || !limits.documents;
    try {
      await (isImage ? addImage : addDocument)(file, limits);
    } catch (error) {
      refusals.push(error.message);
    }
    draw();
  }
  update();
};

// The documents of the box, for a draft that outlives this page, and back.
export const draftDocuments = () =>
  ofKind(true)
    .filter(({ id }) => id)
    .map(({ id, name, kind, pages, size, stored }) => ({ id, name, kind, pages, size, stored }));
export const restoreDocuments = (documents) => {
  documents.forEach((document) => attach({ isDocument: true, ...document }));
  draw();
};

find("#notices").after(h("div", { id: "attachments" }));
noteFor(() => ofKind(true).length > 0);
