// Pictures that go along with a question: picked, pasted or dropped; scaled down here, so that little is sent.
import { chosenModel } from "./models.js";
import { find, h, icon, iconButton } from "./dom.js";
import { say } from "./notices.js";
import { t } from "./words.js";

const LONGEST = 1536; // px, as the server's chatapp/pictures.py
const MOST_BYTES = 900_000;
const KINDS = ["image/png", "image/jpeg", "image/webp"];
const QUALITIES = [0.9, 0.8, 0.65, 0.5];

let most = 4; // as CHAT_MAX_IMAGES says
export const setLimit = (limit) => (most = limit);
let pictures = []; // {url, data: base64}

export const taken = () => pictures.map(({ data }) => ({ data }));
export const clear = () => {
  pictures.forEach(({ url }) => URL.revokeObjectURL(url));
  pictures = [];
  update();
};

// Why they cannot be sent to this model, "" if they can.
export const problem = () => {
  const model = chosenModel();
  if (!pictures.length || !model || model.images) return "";
  return t("{model} cannot see pictures. Choose a model that can, or take the pictures away.", { model: model.label });
};

const update = () => {
  find("#pictures").replaceChildren(
    ...pictures.map((picture, i) =>
      h(
        "span",
        {},
        h("img", { src: picture.url, alt: t("Picture {number}", { number: i + 1 }) }),
        iconButton("close", t("Take picture {number} away", { number: i + 1 }), () => {
          URL.revokeObjectURL(picture.url);
          pictures = pictures.filter((it) => it !== picture);
          update();
        }),
      ),
    ),
  );
  say(problem());
};

const base64 = async (blob) => {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  let text = "";
  for (let i = 0; i < bytes.length; i += 32_768) text += String.fromCharCode(...bytes.subarray(i, i + 32_768));
  return btoa(text);
};

const scaled = async (file) => {
  const picture = await createImageBitmap(file).catch(() => null);
  if (!picture) throw new Error(t("{name} is not a picture that can be read.", { name: file.name || "?" }));
  const scale = Math.min(1, LONGEST / Math.max(picture.width, picture.height));
  if (scale === 1 && file.size <= MOST_BYTES) return file;
  const canvas = h("canvas", { width: Math.round(picture.width * scale), height: Math.round(picture.height * scale) });
  const context = canvas.getContext("2d");
  context.fillStyle = "white"; // where a PNG is see-through
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  for (const quality of QUALITIES) {
    const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", quality));
    if (blob && blob.size <= MOST_BYTES) return blob;
  }
  throw new Error(t("{name} is too large, even scaled down.", { name: file.name || "?" }));
};

export const add = async (files) => {
  const problems = [];
  for (const file of files) {
    if (!KINDS.includes(file.type))
      problems.push(t("{name} is no PNG, JPEG or WebP picture.", { name: file.name || "?" }));
    else if (pictures.length >= most)
      problems.push(t("At most {number} pictures go along with a question.", { number: most }));
    else {
      try {
        const blob = await scaled(file);
        const data = await base64(blob);
        if (pictures.length < most) pictures = [...pictures, { url: URL.createObjectURL(blob), data }];
      } catch (error) {
        problems.push(error.message);
      }
    }
  }
  update();
  if (problems.length) say([...new Set(problems)].join(" "));
};

// The pictures of a question that is sent once more.
export const again = async (addresses) =>
  Promise.all(addresses.map(async (address) => ({ data: await base64(await (await fetch(address)).blob()) })));

export const start = () => {
  const input = h("input", {
    type: "file",
    accept: KINDS.join(),
    multiple: true,
    class: "unseen",
    tabindex: "-1",
    "aria-hidden": "true",
    "aria-label": t("Add pictures"),
  });
  input.addEventListener("change", () => (add([...input.files]), (input.value = "")));
  const label = t("Add pictures");
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
