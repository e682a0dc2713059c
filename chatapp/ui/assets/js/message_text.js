// Shows the text of a message in its row: formatted where that is possible in time, else as it is.
import { copyText } from "./clipboard.js";
import { find, h, iconButton } from "./dom.js";
import { drawDiagrams } from "./diagrams.js";
import { MATHEMATICS, textPlaceOf } from "./gradio_bridge.js";
import { CITATION_CLASS, render } from "./renderer.js";
import { clean } from "./sanitizer.js";
import { t } from "./words.js";

const SLICE = 40; // ms of drawing, after which the page may do something else
const drawings = new WeakMap(); // element -> its drawing, see renderer.js

// Show a text in a row. `source`: { id, text, isQuestion, images, isWriting }, and for an answer with citations
// { citations: [{ end, ... }], citationPlace(citations, index) }.
export const drawText = (row, source) => {
  const element = textPlaceOf(row);
  let drawing = drawings.get(element);
  if (!drawing) {
    // The page of a share link has the text from the beginning, plain.
    drawing = { blocks: [], isPlain: element.hasChildNodes(), source: null, isShown: () => element.isConnected };
    drawing.draw = (drawn, blocks) => draw(element, drawing, drawn, blocks);
    drawings.set(element, drawing);
  }
  const before = drawing.source;
  if (before && Object.keys(source).every((key) => before[key] === source[key])) return;
  if (before && before.id !== source.id) reset(element, drawing);
  drawing.source = source;
  if (source.text) render(drawing);
  else reset(element, drawing);
};

const reset = (element, drawing) => {
  element.replaceChildren();
  Object.assign(drawing, { blocks: [], isPlain: false });
};

const draw = (element, drawing, source, blocks) => {
  if (!blocks) return drawPlain(element, drawing, source.text);
  if (drawing.isPlain) reset(element, drawing);
  const shown = drawing.blocks;
  let first = 0;
  while (first < shown.length && first < blocks.length && shown[first].html === blocks[first]) first++;
  let last = 0; // from the end
  const most = Math.min(shown.length, blocks.length) - first;
  while (last < most && shown[shown.length - 1 - last].html === blocks[blocks.length - 1 - last]) last++;
  const removed = shown.slice(first, shown.length - last);
  const following = shown.slice(shown.length - last).find(({ nodes }) => nodes.length)?.nodes[0] || null;
  removed.forEach(({ nodes }) => nodes.forEach((node) => node.remove()));
  const added = [];
  const started = performance.now();
  for (const html of blocks.slice(first, blocks.length - last)) {
    if (performance.now() - started > SLICE) {
      setTimeout(() => drawing.source === source && !drawing.isPlain && draw(element, drawing, source, blocks));
      break;
    }
    const fragment = clean(html);
    complete(fragment, source);
    added.push({ html, nodes: [...fragment.childNodes] });
    element.insertBefore(fragment, following);
  }
  drawing.blocks = [...shown.slice(0, first), ...added, ...shown.slice(shown.length - last)];
  if (!source.isWriting) drawDiagrams(element, source.id);
};

const drawPlain = (element, drawing, text) => {
  if (!drawing.isPlain) {
    element.replaceChildren(h("div", { class: "as-written" }));
    Object.assign(drawing, { blocks: [], isPlain: true });
  }
  element.firstChild.textContent = text;
};

// Add what the allow-list of the sanitizer keeps out, and only the page itself may add.
const complete = (fragment, { citations, citationPlace }) => {
  fragment.querySelectorAll(`.${CITATION_CLASS}`).forEach((place) => {
    place.replaceWith(citationPlace(citations, Number(place.textContent)));
  });
  // The keyboard scrolls wide code and tables.
  fragment.querySelectorAll("pre, table").forEach((wide) => (wide.tabIndex = 0));
  fragment
    .querySelectorAll("pre")
    .forEach((pre) => pre.before(iconButton("copy", t("Copy code"), () => copyCode(pre))));
  if (find(MATHEMATICS, fragment)) loadMathStyles();
};

const copyCode = (pre) => copyText(pre.textContent, t("Copied"), 2);

let hasMathStyles = false;
const loadMathStyles = () => {
  const address = find('meta[name="katex"]')?.content.split(" ")[1];
  if (hasMathStyles || !address) return;
  hasMathStyles = true;
  document.head.append(h("link", { rel: "stylesheet", href: address }));
};
