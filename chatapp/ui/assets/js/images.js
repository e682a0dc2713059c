// The images of a question: picked, pasted or dropped, and scaled down before they are sent.
import { part } from "./api.js";
import { chosenModel } from "./models.js";
import { find, h, icon, iconButton } from "./dom.js";
import { say } from "./notices.js";
import { t } from "./words.js";

const KINDS = ["image/png", "image/jpeg", "image/webp"];

let limits = {}; // of the server: {images, imageSide: px, imageBytes}
export const setLimits = (now) => (limits = now);
let pictures = []; // {url, data: base64}

export const attached = () => pictures.map(({ data }) => ({ data }));
export const clear = () => {
  pictures.forEach(({ url }) => URL.revokeObjectURL(url));
  pictures = [];
  update();
};

// Why the images cannot be sent to the chosen model, "" if they can.
export const problem = () => {
  const model = chosenModel();
  if (!pictures.length || !model || model.images) return "";
  return t("{model} does not support images. Choose a model that does, or remove the images.", { model: model.label });
};

const update = () => {
  find("#pictures").replaceChildren(
    ...pictures.map((picture, i) =>
      h(
        "span",
        {},
        h("img", { src: picture.url, alt: t("Image {number}", { number: i + 1 }) }),
        iconButton("close", t("Remove image {number}", { number: i + 1 }), () => {
          URL.revokeObjectURL(picture.url);
          pictures = pictures.filter((it) => it !== picture);
          update();
        }),
      ),
    ),
  );
  say(problem());
};

export const add = async (files) => {
  const problems = [];
  for (const file of files) {
    if (!KINDS.includes(file.type))
      problems.push(t("{name} is not a PNG, JPEG or WebP image.", { name: file.name || "?" }));
    else if (pictures.length >= limits.images)
      problems.push(t("A message can have at most {number} images.", { number: limits.images }));
    else {
      try {
        const { base64, scaled } = await part("image_scaling");
        const blob = await scaled(file, limits);
        const data = await base64(blob);
        if (pictures.length < limits.images) pictures = [...pictures, { url: URL.createObjectURL(blob), data }];
      } catch (error) {
        problems.push(error.message);
      }
    }
  }
  update();
  if (problems.length) say([...new Set(problems)].join(" "));
};

// The images of a question that is sent again.
export const fetched = async (addresses) => {
  if (!addresses.length) return [];
  const { base64 } = await part("image_scaling");
  return Promise.all(addresses.map(async (address) => ({ data: await base64(await (await fetch(address)).blob()) })));
};

export const start = () => {
  const input = h("input", {
    type: "file",
    accept: KINDS.join(),
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
      { type: "button", id: "add-pictures", "aria-label": label, title: label, onclick: () => input.click() },
      icon("picture"),
    ),
    input,
  );
  find("#notices").after(h("div", { id: "pictures" }));
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
