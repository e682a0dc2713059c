// How many pixels a browser would decode for a picture in an answer, by the headers in its file: a few hundred bytes can
// stand for gigabytes. Frames of an animation and scans of a JPEG count each. Null: no PNG, JPEG, GIF or WebP file.
const text = (bytes, at, length) => String.fromCharCode(...bytes.subarray(at, at + length));
const big16 = (bytes, at) => (bytes[at] << 8) | bytes[at + 1];
const big32 = (bytes, at) => big16(bytes, at) * 0x10000 + big16(bytes, at + 2);
const little16 = (bytes, at) => bytes[at] | (bytes[at + 1] << 8);
const little24 = (bytes, at) => little16(bytes, at) | (bytes[at + 2] << 16);
const little32 = (bytes, at) => little16(bytes, at) + little16(bytes, at + 2) * 0x10000;

// https://www.w3.org/TR/png-3/#5Chunk-layout
const png = (bytes) => {
  if (text(bytes, 12, 4) !== "IHDR") return null;
  let frames = 0;
  for (let at = 8; at + 8 <= bytes.length; at += 12 + big32(bytes, at)) if (text(bytes, at + 4, 4) === "fcTL") frames++;
  return { width: big32(bytes, 16), height: big32(bytes, 20), frames };
};

// https://www.w3.org/Graphics/GIF/spec-gif89a.txt
const gif = (bytes) => {
  const size = { width: little16(bytes, 6), height: little16(bytes, 8), frames: 0 };
  const colours = (flags) => (flags & 0x80 ? 3 * 2 ** ((flags & 7) + 1) : 0);
  let at = 13 + colours(bytes[10]);
  while (at < bytes.length && bytes[at] !== 0x3b) {
    if (bytes[at] === 0x2c) {
      size.frames++;
      size.width = Math.max(size.width, little16(bytes, at + 1) + little16(bytes, at + 5));
      size.height = Math.max(size.height, little16(bytes, at + 3) + little16(bytes, at + 7));
      at += 11 + colours(bytes[at + 9]);
    } else if (bytes[at] === 0x21) at += 2;
    else break;
    while (bytes[at]) at += 1 + bytes[at];
    at++;
  }
  return size;
};

// ITU-T T.81, B.1.1: markers, each but a few with a length.
const jpeg = (bytes) => {
  const size = { width: 0, height: 0, frames: 0 };
  for (let at = 2; at + 4 <= bytes.length; ) {
    const marker = bytes[at + 1];
    if (bytes[at] !== 0xff || marker === 0xff || marker < 0xc0 || (marker >= 0xd0 && marker <= 0xd9)) {
      at++; // the data of a scan, or padding
      continue;
    }
    if (marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) {
      size.height = Math.max(size.height, big16(bytes, at + 5));
      size.width = Math.max(size.width, big16(bytes, at + 7));
    }
    if (marker === 0xda) size.frames++;
    at += 2 + big16(bytes, at + 2);
  }
  return size;
};

// https://developers.google.com/speed/webp/docs/riff_container
const webp = (bytes) => {
  const size = { width: 0, height: 0, frames: 0 };
  const grow = (width, height) => {
    size.width = Math.max(size.width, width);
    size.height = Math.max(size.height, height);
  };
  const read = (at, end) => {
    for (; at + 8 <= end; at += 8 + little32(bytes, at + 4) + (bytes[at + 4] & 1)) {
      const [kind, data] = [text(bytes, at, 4), at + 8];
      if (kind === "VP8X") grow(little24(bytes, data + 4) + 1, little24(bytes, data + 7) + 1);
      if (kind === "VP8 ") grow(little16(bytes, data + 6) & 0x3fff, little16(bytes, data + 8) & 0x3fff);
      if (kind === "VP8L") {
        const bits = little32(bytes, data + 1);
        grow((bits & 0x3fff) + 1, (Math.floor(bits / 0x4000) & 0x3fff) + 1);
      }
      if (kind === "ANMF") {
        size.frames++;
        grow(little24(bytes, data + 6) + 1, little24(bytes, data + 9) + 1);
      }
    }
  };
  read(12, bytes.length);
  return size;
};

const sizeOf = (bytes) => {
  if (text(bytes, 0, 8) === "\x89PNG\r\n\x1a\n") return png(bytes);
  if (/^GIF8[79]a$/.test(text(bytes, 0, 6))) return gif(bytes);
  if (text(bytes, 0, 3) === "\xff\xd8\xff") return jpeg(bytes);
  if (/^RIFF.{4}WEBP$/s.test(text(bytes, 0, 12))) return webp(bytes);
  return null;
};

// The pixels of a picture in a data URL of base64.
export const pixelsOf = (url) => {
  try {
    const bytes = Uint8Array.from(atob(url.slice(url.indexOf(",") + 1)), (character) => character.charCodeAt(0));
    const size = sizeOf(bytes);
    return size && size.width * size.height * Math.max(1, size.frames) || null;
  } catch {
    return null; // no base64
  }
};
