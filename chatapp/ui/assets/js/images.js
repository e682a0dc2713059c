// The images of a question: picked, pasted or dropped, and scaled down before they are sent.
import { loadModule } from "./api.js";
import { chosenModel } from "./models.js";
import { find, h, icon, iconButton } from "./dom.js";
import { showError } from "./notices.js";
import { t } from "./words.js";

const MEDIA_TYPES = ["image/png", "image/jpeg", "image/webp"];

let limits = {}; // of the server: {images, imageSide: px, imageBytes}
export const setLimits = (now) => (limits = now);
let attachedImages = []; // {url, data: base64}

export const attached = () => attachedImages.map(({ data }) => ({ data }));
export const clear = () => {
  attachedImages.forEach(({ url }) => URL.revokeObjectURL(url));
  attachedImages = [];
  update();
};

// Why the images cannot be sent to the chosen model, "" if they can.
export const problem = () => {
  const model = chosenModel();
  if (!attachedImages.length || !model || model.images) return "";
  return t("{model} does not support images. Choose a model that does, or remove the images.", { model: model.label });
};

const update = () => {
  find("#attached-images").replaceChildren(
    ...attachedImages.map((image, i) =>
      h(
        "span",
        {},
        h("img", { src: image.url, alt: t("Image {number}", { number: i + 1 }) }),
        iconButton("close", t("Remove image {number}", { number: i + 1 }), () => {
          URL.revokeObjectURL(image.url);
          attachedImages = attachedImages.filter((it) => it !== image);
          update();
        }),
      ),
    ),
  );
  showError(problem());
};

export const add = async (files) => {
  const problems = [];
  for (const file of files) {
    if (!MEDIA_TYPES.includes(file.type))
      problems.push(t("{name} is not a PNG, JPEG or WebP image.", { name: file.name || "?" }));
    else if (attachedImages.length >= limits.images)
      problems.push(t("A message can have at most {number} images.", { number: limits.images }));
    else {
      try {
        const { base64Of, scaleImage } = await loadModule("image_scaling");
        const blob = await scaleImage(file, limits);
        const data = await base64Of(blob);
        if (attachedImages.length < limits.images)
          attachedImages = [...attachedImages, { url: URL.createObjectURL(blob), data }];
      } catch (error) {
        problems.push(error.message);
      }
    }
  }
  update();
  if (problems.length) showError([...new Set(problems)].join(" "));
};

// The images of a question that is sent again.
export const fetchImages = async (addresses) => {
  if (!addresses.length) return [];
  const { base64Of } = await loadModule("image_scaling");
  return Promise.all(addresses.map(async (address) => ({ data: await base64Of(await (await fetch(address)).blob()) })));
};

export const start = () => {
  const input = h("input", {
    type: "file",
    accept: MEDIA_TYPES.join(),
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
  const imagesIn = (transfer) => [...(transfer?.files || [])];
  document.addEventListener(
    "paste",
    (event) => {
      const files = imagesIn(event.clipboardData);
      if (files.length) (event.preventDefault(), event.stopPropagation(), add(files));
    },
    { capture: true },
  );
  const main = find("#main");
  main.addEventListener("dragover", (event) => {
    if (![...(event.dataTransfer?.types || [])].includes("Files")) return;
    event.preventDefault();
    main.classList.add("dropping");
  });
  main.addEventListener(
    "dragleave",
    (event) => main.contains(event.relatedTarget) || main.classList.remove("dropping"),
  );
  main.addEventListener("drop", (event) => {
    main.classList.remove("dropping");
    const files = imagesIn(event.dataTransfer);
    if (files.length) (event.preventDefault(), add(files));
  });
};
