// Draws Mermaid diagrams as pictures. Mermaid runs in a frame of its own (frames/diagram.html), which can reach neither
// the page nor any address, and is closed if a diagram takes too long. A picture can neither be styled nor clicked.
// A browser that gives the frame no process of its own waits for Mermaid, so that the frame looks at the clock, too.
import { h } from "./dom.js";
import { t } from "./words.js";

const MAX_LENGTH = 6_000; // characters of a diagram
const MAX_PICTURE = 1_000_000; // characters of a drawn one
const STOP_AFTER = 5000; // ms of one diagram
const MAX_DIAGRAMS = 20; // in one message; the others stay text
const MAX_TIMEOUTS = 2; // in one message; then its others stay text
const MAX_KEPT = 50;

// Settings in YAML before a diagram, with an anchor or an alias: few of them stand for millions of values.
const ALIASES = /^\s*---[^]*?(?:^|[\s[{,:-])[&*]\w[^]*?^\s*---/m;

const kept = new Map(); // text -> a promise of the SVG, null if it could not be drawn
const slow = new Map(); // text of a diagram that took too long -> id of its message
let frame = null;
let library = null; // a promise of Mermaid's source, which the frame cannot fetch itself
let before = Promise.resolve(); // one diagram at a time

const loadLibrary = () =>
  (library ||= fetch(new URL("../vendor/mermaid.js", import.meta.url)).then(
    (response) => (response.ok ? response.text() : Promise.reject(new Error(String(response.status)))),
  ).catch((error) => {
    library = null;
    throw error;
  }));

// Resolve to the next message of the frame; null after the time, which ends the frame.
const answerOf = (milliseconds) =>
  new Promise((resolve) => {
    const done = (answer) => {
      clearTimeout(timer);
      removeEventListener("message", onMessage);
      if (!answer) closeFrame();
      resolve(answer);
    };
    const onMessage = ({ source, data }) => source === frame?.contentWindow && done(data || {});
    const timer = setTimeout(() => done(null), milliseconds);
    addEventListener("message", onMessage);
  });

const closeFrame = () => {
  frame?.remove();
  frame = null;
};

const openFrame = async () => {
  const source = await loadLibrary();
  frame = h("iframe", {
    sandbox: "allow-scripts",
    src: new URL("../frames/diagram.html", import.meta.url).href,
    class: "diagram-frame",
    "aria-hidden": "true",
    tabindex: "-1",
    title: t("Diagram"),
  });
  const isThere = answerOf(30_000); // on a slow line
  document.body.append(frame);
  if (!(await isThere)) return;
  const isLoaded = answerOf(30_000);
  frame?.contentWindow.postMessage({ source }, "*"); // "*": a sandboxed frame has no origin
  await isLoaded;
};

const svgOf = async (text, id) => {
  if (!frame) await openFrame();
  if (!frame) return null;
  const answer = answerOf(STOP_AFTER);
  frame.contentWindow.postMessage({ text, isDark: document.body.classList.contains("dark") }, "*");
  const drawn = await answer;
  if (!drawn || drawn.isTooMuch) {
    closeFrame();
    if (slow.size >= 1000) slow.clear();
    slow.set(text, id);
  }
  const svg = drawn?.svg;
  return typeof svg === "string" && svg.length <= MAX_PICTURE ? svg : null;
};

const isTooSlow = (text, id) => slow.has(text) || [...slow.values()].filter((it) => it === id).length >= MAX_TIMEOUTS;

const svgInTurn = (text, id, isNeeded) => {
  if (kept.has(text)) return kept.get(text);
  if (kept.size >= MAX_KEPT) kept.clear();
  const draw = () => isNeeded() && !isTooSlow(text, id) && svgOf(text, id);
  const svg = (before = before.then(draw).catch(() => null));
  kept.set(text, svg);
  svg.then((it) => it || kept.delete(text));
  return svg;
};

const pictureOf = (svg) => {
  const [width, height] = (/^<svg[^>]*\sviewBox="[-\d.]+ [-\d.]+ ([\d.]+) ([\d.]+)"/.exec(svg) || []).slice(1).map(Math.ceil);
  const sized = svg.replace(/^<svg[^>]*>/, (tag) =>
    tag.replace(/\s(?:width|height|style)="[^"]*"/g, "").replace("<svg", `<svg width="${width}" height="${height}"`),
  );
  return h("img", { class: "diagram", width, alt: t("Diagram"), src: `data:image/svg+xml,${encodeURIComponent(sized)}` });
};

// Put the pictures of the diagrams in a message, which has the id `id`, into the places of their texts.
export const drawDiagrams = (element, id) =>
  [...element.querySelectorAll("code.language-mermaid")].slice(0, MAX_DIAGRAMS).forEach((code) => drawDiagram(code, id));

const drawDiagram = async (code, id) => {
  const text = code.textContent;
  const pre = code.parentElement;
  if (text.length > MAX_LENGTH || ALIASES.test(text) || pre.dataset.diagram) return;
  pre.dataset.diagram = "drawing";
  const svg = await svgInTurn(text, id, () => pre.isConnected);
  if (!svg || !pre.isConnected) return;
  const picture = pictureOf(svg);
  picture.addEventListener("load", () => ((pre.hidden = true), pre.after(picture)), { once: true });
};
