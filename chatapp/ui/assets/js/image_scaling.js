// Prepares an image file for its upload: scaled down to what the server stores, in a format that it reads.
import { h } from "./dom.js";
import { t } from "./words.js";

const QUALITIES = [0.9, 0.8, 0.65, 0.5];
const KEPT = ["image/png", "image/jpeg", "image/webp"]; // as they are, unless they are too large
const LARGE = 20_000_000; // bytes; browsers give up on bitmaps of about 200 megapixels
const KINDS = [
  ["HEIC", /^image\/hei[cf]|\.hei[cf]$/i],
  ["AVIF", /^image\/avif|\.avif$/i],
  ["TIFF", /^image\/tiff|\.tiff?$/i],
  ["SVG", /^image\/svg|\.svg$/i],
  ["GIF", /^image\/gif|\.gif$/i],
];
const kindOf = (file) => KINDS.find(([, pattern]) => pattern.test(file.type) || pattern.test(file.name || ""))?.[0];

// Return the image as {blob, note}: `note` tells what is not sent of it. Throws an Error that says what to do.
export const prepareImage = async (file, limits) => {
  const name = file.name || "?";
  const kind = kindOf(file);
  if (!kind && !file.type.startsWith("image/")) throw new Error(t("{name} is not a PNG, JPEG or WebP image.", { name }));
  const image = await decode(file, kind);
  if (!image) throw new Error(whyUnreadable(file, kind, name));
  const blob = await scale(image, file, limits, name);
  image.close?.();
  const note = (await isAnimated(file)) ? t("{name} is animated. Only its first frame is sent.", { name }) : "";
  return { blob, note };
};

const decode = async (file, kind) => {
  const bitmap = await createImageBitmap(file).catch(() => null);
  return bitmap || (kind === "SVG" ? drawSvg(file) : null);
};

// An SVG as an image: it loads nothing and runs no script.
const drawSvg = async (file) => {
  const url = URL.createObjectURL(new Blob([file], { type: "image/svg+xml" }));
  const image = h("img", { src: url });
  const isRead = await image.decode().then(
    () => image.naturalWidth > 0,
    () => false,
  );
  URL.revokeObjectURL(url);
  return isRead ? image : null;
};

const whyUnreadable = (file, kind, name) => {
  if (kind === "HEIC")
    return t(
      "{name} is a HEIC photo, which this browser cannot read. Save it as JPEG, then add it again. (On an iPhone: Settings, Camera, Formats, Most Compatible.)",
      { name },
    );
  if (kind && kind !== "GIF" && kind !== "SVG")
    return t("This browser cannot read {kind} images. Save {name} as JPEG or PNG, then add it again.", {
      name,
      kind,
    });
  if (file.size > LARGE) return t("{name} is too large to be read. Scale it down, then add it again.", { name });
  return t("{name} cannot be read as an image. It may be damaged. Save it again as JPEG or PNG, then add it again.", {
    name,
  });
};

// Return the file, scaled down where it exceeds the server's limits for an image's side (px) and size (bytes).
const scale = async (image, file, { imageSide, imageBytes }, name) => {
  const [width, height] = [image.naturalWidth || image.width, image.naturalHeight || image.height];
  const factor = Math.min(1, imageSide / Math.max(width, height));
  if (factor === 1 && file.size <= imageBytes && KEPT.includes(file.type)) return file;
  const canvas = h("canvas", {
    width: Math.max(1, Math.round(width * factor)),
    height: Math.max(1, Math.round(height * factor)),
  });
  const context = canvas.getContext("2d");
  context.fillStyle = "white"; // behind transparent parts
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  for (const quality of QUALITIES) {
    const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", quality));
    if (blob && blob.size <= imageBytes) return blob;
  }
  throw new Error(t("{name} has too much detail, even scaled down. Crop it, then add it again.", { name }));
};

// Whether a GIF, WebP or PNG has more frames than one, by the marks of their formats.
const isAnimated = async (file) => {
  const bytes = new Uint8Array(await file.slice(0, 2_000_000).arrayBuffer());
  const text = (from, to) => String.fromCharCode(...bytes.subarray(from, to));
  if (text(0, 4) === "RIFF" && text(12, 16) === "VP8X") return Boolean(bytes[20] & 2);
  if (text(1, 4) === "PNG") return text(8, 4096).includes("acTL");
  return text(0, 3) === "GIF" && countFrames(bytes) > 1;
};

// The frames in the blocks of a GIF.
const countFrames = (bytes) => {
  const tableSize = (flags) => (flags & 0x80 ? 3 * 2 ** ((flags & 7) + 1) : 0);
  let frames = 0;
  let i = 13 + tableSize(bytes[10]);
  while (bytes[i] === 0x21 || bytes[i] === 0x2c) {
    if (bytes[i] === 0x2c) frames++;
    i += bytes[i] === 0x2c ? 11 + tableSize(bytes[i + 9]) : 2;
    while (bytes[i]) i += bytes[i] + 1;
    i++;
  }
  return frames;
};
