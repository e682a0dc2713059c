// The images of a question: picked, pasted or dropped, scaled down, and uploaded before the question names them.
import { errorText, fetchApi, fileOptions, loadModule, Refusal } from "./api.js";
import { chosenModel } from "./models.js";
import { find, h, icon, iconButton } from "./dom.js";
import { showError, showToast } from "./notices.js";
import { postPatiently } from "./stream.js";
import { t } from "./words.js";

const ACCEPTED = "image/*,.heic,.heif,.avif"; // what the browser cannot read is refused with what to do

let limits = {}; // of the server: {images, imageSide: px, imageBytes}
export const setLimits = (now) => (limits = now);
let attachedImages = []; // {url, blob, id: of the upload, "" before, uploading: a promise while it is uploaded}

export const clear = () => {
  attachedImages.forEach(({ url }) => URL.revokeObjectURL(url));
  attachedImages = [];
  update();
};

// Upload an image once, however many ask for it. Throws a Refusal.
const upload = (image, post) =>
  (image.uploading ||= (async () => {
    try {
      const path = `images?${new URLSearchParams({ model: chosenModel()?.id || "" })}`;
      const response = await post(path, fileOptions(image.blob));
      if (!response) throw new Refusal(t("The chat is unreachable. Nothing was changed; try again in a moment."), 0);
      if (!response.ok) throw new Refusal(await errorText(response), response.status);
      image.id = (await response.json()).id;
    } finally {
      image.uploading = null;
      image.thumbnail?.classList.toggle("uploading", !image.id);
    }
  })());

// Upload the images of the box that are not at the chat yet, and return them all as a message names them. The chat
// forgets uploads after a while, or when it restarts: those that it misses are uploaded again. Throws a Refusal.
export const uploaded = async (missing = []) => {
  const images = attachedImages;
  for (const image of images) if (missing.includes(image.id)) image.id = "";
  const eager = images.map((image) => image.uploading).filter(Boolean);
  await Promise.allSettled(eager);
  await Promise.all(images.map((image) => image.id || upload(image, postPatiently)));
  return images.map(({ id }) => ({ id }));
};

// Upload an image while its question is being written. What goes wrong now is tried again with the question.
const uploadEarly = (image) => {
  if (problem()) return;
  upload(image, fetchApi).catch((error) => {
    if (error.status === 413 || error.status === 422) showError(error.message); // it will not be different then
  });
};

// Why the images cannot be sent to the chosen model, "" if they can.
export const problem = () => {
  const model = chosenModel();
  if (!attachedImages.length || !model || model.images) return "";
  return t("{model} does not support images. Choose a model that does, or remove the images.", { model: model.label });
};

const update = () => {
  find("#attached-images").replaceChildren(...attachedImages.map(thumbnailOf));
  showError(problem());
};

const thumbnailOf = (image, i) =>
  (image.thumbnail = h(
    "span",
    { class: image.id ? "" : "uploading" },
    h("img", { src: image.url, alt: t("Image {number}", { number: i + 1 }) }),
    iconButton("close", t("Remove image {number}", { number: i + 1 }), () => {
      URL.revokeObjectURL(image.url);
      attachedImages = attachedImages.filter((it) => it !== image);
      update();
    }),
  ));

export const add = async (files) => {
  const problems = [];
  for (const file of files) {
    if (attachedImages.length >= limits.images)
      problems.push(t("A message can have at most {number} images.", { number: limits.images }));
    else {
      try {
        const { prepareImage } = await loadModule("image_scaling");
        const { blob, note } = await prepareImage(file, limits);
        if (attachedImages.length < limits.images) {
          const image = { url: URL.createObjectURL(blob), blob, id: "", uploading: null };
          attachedImages = [...attachedImages, image];
          uploadEarly(image);
        }
        if (note) showToast(note);
      } catch (error) {
        problems.push(error.message);
      }
    }
  }
  update();
  if (problems.length) showError([...new Set(problems)].join(" "));
};

export const start = () => {
  const input = h("input", {
    type: "file",
    accept: ACCEPTED,
    multiple: true,
    class: "unseen",
    tabindex: "-1",
    "aria-hidden": "true",
    "aria-label": t("Add images"),
  });
  input.addEventListener("change", () => (add([...input.files]), (input.value = "")));
  const label = t("Add images");
  find("#tools .chat-tools").append(
    h(
      "button",
      { type: "button", id: "add-images", "aria-label": label, title: label, onclick: () => input.click() },
      icon("image"),
    ),
    input,
  );
  find("#notices").after(h("div", { id: "attached-images" }));
};
