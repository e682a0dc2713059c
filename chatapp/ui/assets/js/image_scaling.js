// Scales an image file down to what the server stores.
import { h } from "./dom.js";
import { t } from "./words.js";

const QUALITIES = [0.9, 0.8, 0.65, 0.5];

export const base64Of = async (blob) => {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  let text = "";
  for (let i = 0; i < bytes.length; i += 32_768) text += String.fromCharCode(...bytes.subarray(i, i + 32_768));
  return btoa(text);
};

// Return the file, scaled down where it exceeds the server's limits for an image's side (px) and size (bytes).
export const scaleImage = async (file, { imageSide, imageBytes }) => {
  const image = await createImageBitmap(file).catch(() => null);
  if (!image) throw new Error(t("{name} cannot be read as an image.", { name: file.name || "?" }));
  const scale = Math.min(1, imageSide / Math.max(image.width, image.height));
  if (scale === 1 && file.size <= imageBytes) return file;
  const canvas = h("canvas", { width: Math.round(image.width * scale), height: Math.round(image.height * scale) });
  const context = canvas.getContext("2d");
  context.fillStyle = "white"; // behind a PNG's transparent parts
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  for (const quality of QUALITIES) {
    const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", quality));
    if (blob && blob.size <= imageBytes) return blob;
  }
  throw new Error(t("{name} is too large, even scaled down.", { name: file.name || "?" }));
};
