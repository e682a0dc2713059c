// What a paste or a drop puts into the page: text where there is any, else files. Spreadsheets and word processors add a
// picture of the cells to their text.
import { loadModule } from "./api.js";
import { add, addFolders } from "./attachments.js";
import { find } from "./dom.js";
import { messageBox } from "./gradio_bridge.js";
import { attempt, showError } from "./notices.js";
import { t } from "./words.js";

const BLOCKS = "address, article, blockquote, dd, div, dt, h1, h2, h3, h4, h5, h6, li, p, pre, section, tr";
const FIELDS = "textarea, input";
// A file manager adds the names of the files as text, and some the command they were copied with.
const COMMAND = /^(x-special\/[\w-]+|copy|cut)$/;

const linesOf = (text) => text.split(/[\r\n\0]+/).filter((line) => line.trim());

const namesFiles = (text, files) => {
  const names = new Set(files.map((file) => file.name));
  const isName = (line) => line.startsWith("file:") || names.has(line.split(/[\\/]/).at(-1));
  const lines = linesOf(text);
  return lines.some(isName) && lines.every((line) => isName(line) || COMMAND.test(line));
};

const parsed = (html) => new DOMParser().parseFromString(html, "text/html").body; // runs and loads nothing

const textOf = (body) => {
  body.querySelectorAll("script, style, title, template").forEach((element) => element.remove());
  const texts = document.createNodeIterator(body, NodeFilter.SHOW_TEXT);
  for (let node = texts.nextNode(); node; node = texts.nextNode())
    if (!node.parentElement.closest("pre")) node.data = node.data.replace(/[ \t\r\n]+/g, " ");
  body.querySelectorAll("br").forEach((element) => element.replaceWith("\n"));
  body.querySelectorAll("td, th").forEach((element) => element.nextElementSibling && element.append("\t"));
  body.querySelectorAll(BLOCKS).forEach((element) => (element.before("\n"), element.append("\n")));
  return body.textContent.replace(/ *\n[\n ]*\n */g, "\n").trim();
};

// Text of other types, such as Markdown or CSV; not what browsers add for themselves.
const OTHER_TEXT = /^text\/(?!plain$|html$|rtf$|richtext$|uri-list$|x-|_|vnd)/;
const otherTextOf = (clipboard) => {
  const types = [...clipboard.types].filter((type) => OTHER_TEXT.test(type));
  return types.map((type) => clipboard.getData(type)).find((text) => text.trim()) || "";
};

const DATA = /^data:(image\/[a-z+.-]+);base64,(.*)$/is;
const fileOf = (address) => {
  const [, type, data] = DATA.exec(address) || [];
  if (!type) return null;
  try {
    const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
    return new File([bytes], `image.${type.split("/")[1]}`, { type });
  } catch {
    return null; // damaged
  }
};

// What a clipboard holds: {plain} for the browser to paste, {text}, {rtf}, {files}, {isOnlyAddress} for an image that is
// not in it, or {}.
export const contentOf = (clipboard) => {
  const files = [...clipboard.files];
  const [plain, html, list] = ["text/plain", "text/html", "text/uri-list"].map((type) => clipboard.getData(type));
  const body = parsed(html);
  const addresses = [...body.querySelectorAll("img")].map((image) => image.src);
  const text = textOf(body);
  // Firefox adds the address of a copied image as text.
  const isAddressOfImage = !text && addresses.includes(plain.trim());
  const isNames = files.length && !html && namesFiles(plain, files);
  if (plain.trim() && !(files.length && isAddressOfImage) && !isNames) return { plain };
  if (text) return { text };
  const other = otherTextOf(clipboard);
  if (other) return { text: other };
  const rtf = clipboard.getData("text/rtf") || clipboard.getData("text/richtext");
  if (rtf && !(files.length && addresses.length)) return { rtf, files };
  if (files.length) return { files };
  const links = linesOf(list).filter((line) => !line.startsWith("#")); // which begins a comment
  if (links.length && !addresses.length) return { text: links.join("\n") };
  const images = addresses.map(fileOf).filter(Boolean);
  if (images.length) return { files: images };
  return addresses.length ? { isOnlyAddress: true } : {};
};

const insert = (field, text) => {
  field.focus();
  if (document.execCommand("insertText", false, text)) return; // it can be undone
  field.setRangeText(text, field.selectionStart, field.selectionEnd, "end");
  field.dispatchEvent(new Event("input", { bubbles: true }));
};

// Take what a clipboard holds, as `contentOf`; returns whether the browser must not.
const take = ({ plain, text, rtf, files, isOnlyAddress }, field) => {
  const isMessage = !field || field === messageBox();
  const addFiles = () => isMessage && files.length && add(files);
  if (plain || text) insert(field || messageBox(), plain || text);
  else if (rtf)
    attempt(async () => {
      const { textOfRtf } = await loadModule("rtf");
      const words = textOfRtf(rtf);
      if (words) insert(field || messageBox(), words);
      else addFiles();
    });
  else if (files && isMessage) add(files);
  else if (isOnlyAddress && isMessage)
    showError(t("The clipboard has only the address of the image. Save the image, then add it here."));
  else return false;
  return true;
};

// What is dropped, if a folder is among it, else []. A browser tells it only while it handles the event.
export const entriesWithFolder = ({ items }) => {
  const entries = [...items].map((item) => item.kind === "file" && item.webkitGetAsEntry?.()).filter(Boolean);
  return entries.some(({ isDirectory }) => isDirectory) ? entries : [];
};

const isInPanel = ({ target }) => Boolean(target.closest?.("dialog, [popover]"));
const fieldOf = ({ target }) => target.closest?.(FIELDS);

const paste = (event) => {
  const field = fieldOf(event);
  if (!event.clipboardData || (isInPanel(event) && !field)) return;
  const content = contentOf(event.clipboardData);
  if (field && content.plain) return; // the browser pastes it
  if (!take(content, field)) return;
  event.preventDefault();
  event.stopPropagation();
};

let isFromPage = false; // what is being dragged: words of an answer that are dropped beside the box are not wanted there
const takes = (event) => {
  const types = [...(event.dataTransfer?.types || [])];
  if (types.includes("Files")) return true;
  return !isFromPage && !isInPanel(event) && !fieldOf(event) && types.some((type) => /^text\//.test(type));
};

const drop = (event) => {
  find("#main").classList.remove("dropping");
  if (!takes(event)) return; // the browser drops text into a field
  event.preventDefault(); // it would open a file or a link in place of the page
  const entries = entriesWithFolder(event.dataTransfer);
  if (entries.length) addFolders(entries);
  else take(contentOf(event.dataTransfer), fieldOf(event));
};

export const start = () => {
  document.addEventListener("paste", paste, { capture: true });
  document.addEventListener("dragstart", () => (isFromPage = true), { capture: true });
  document.addEventListener("dragend", () => (isFromPage = false), { capture: true });
  document.addEventListener("dragover", (event) => {
    if (!takes(event)) return;
    event.preventDefault();
    find("#main").classList.add("dropping");
  });
  document.addEventListener("dragleave", (event) => event.relatedTarget || find("#main").classList.remove("dropping"));
  document.addEventListener("drop", drop);
};
