// Has a worker turn the texts of messages into HTML, within a bounded time: a text that takes longer is shown plain.
import { ready } from "./sanitizer.js";

const SHOW_PLAIN_AFTER = 1000; // ms without a result
const STOP_AFTER = 4000; // ms of one text; then the worker is ended, and the message stays plain
const PAUSE = 2; // times the duration of the last rendering, between two of the same message: texts grow by the token

// No text of a model knows it, so that none makes a citation.
const SECRET = crypto.getRandomValues(new Uint32Array(4)).join("");
export const CITATION_CLASS = `citation-${SECRET}`;

const queue = new Set(); // drawings that wait for the worker
const incomplete = new Set(); // drawings without their formulas or colours yet
const refused = new Set(); // ids of messages that took too long
const waiting = [];
const katex = () => document.querySelector('meta[name="katex"]')?.content.split(" ")[0] || "";

let worker = null;
let isReady = false;
let failures = 0;
let running = null; // { id, drawing, source, started }
let lastId = 0;
let stopTimer = 0;
let pumpTimer = 0;

const startWorker = () => {
  worker = new Worker(new URL("./render_worker.js", import.meta.url), { type: "module" });
  isReady = false;
  worker.onmessage = ({ data }) => (data.isReady ? begin() : data.loaded ? renderIncomplete() : finish(data));
  worker.onerror = () => {
    // Its files could not be loaded.
    endWorker();
    failures++;
    if (running) running.drawing.draw(running.source, null);
    running = null;
    pump();
  };
};

const endWorker = () => {
  worker?.terminate();
  worker = null;
  clearTimeout(stopTimer);
};

const begin = () => {
  isReady = true;
  failures = 0;
  armStop(); // the time that loading the worker takes does not count
};

const armStop = () => {
  clearTimeout(stopTimer);
  if (running && isReady)
    stopTimer = setTimeout(() => {
      refused.add(running.source.id);
      const { drawing, source } = running;
      running = null;
      endWorker();
      show(drawing, source, null);
      pump();
    }, STOP_AFTER);
};

const finish = ({ id, blocks, isIncomplete }) => {
  if (running?.id !== id) return;
  clearTimeout(stopTimer);
  const { drawing, source, started } = running;
  running = null;
  drawing.notBefore = performance.now() + PAUSE * (performance.now() - started);
  if (isIncomplete) incomplete.add(drawing);
  show(drawing, source, blocks);
  pump();
};

// Draw, unless the element shows another message by now.
const show = (drawing, source, blocks) => {
  if (drawing.source.id !== source.id) return;
  if (drawing.source === source) {
    clearTimeout(drawing.plainTimer);
    drawing.plainTimer = 0;
  }
  drawing.draw(source, blocks);
};

const renderIncomplete = () => {
  incomplete.forEach((drawing) => queue.add(drawing));
  incomplete.clear();
  pump();
};

const pump = () => {
  clearTimeout(pumpTimer);
  for (const drawing of queue) if (!drawing.isShown()) queue.delete(drawing);
  if (!queue.size && !running) waiting.splice(0).forEach((resolve) => resolve());
  if (running || !queue.size) return;
  const now = performance.now();
  const next = [...queue].find(({ notBefore }) => notBefore <= now);
  if (!next) {
    pumpTimer = setTimeout(pump, Math.min(...[...queue].map(({ notBefore }) => notBefore)) - now);
    return;
  }
  queue.delete(next);
  running = { id: ++lastId, drawing: next, source: next.source, started: now };
  ready().then(post, () => giveUp());
};

const post = () => {
  if (!running) return;
  if (failures > 2) return giveUp();
  if (!worker) startWorker();
  running.started = performance.now();
  const { text, isQuestion, images, citations } = running.source;
  const address = katex() && new URL(katex(), document.baseURI).href;
  const marks = citations?.length && { secret: SECRET, ends: citations.map(({ end }) => end) };
  worker.postMessage({ id: running.id, text, isQuestion, images, marks, katex: address });
  armStop();
};

// The renderer could not be loaded: the text as it is.
const giveUp = () => {
  const { drawing, source } = running;
  running = null;
  show(drawing, source, null);
  pump();
};

// Render a text. Drawing: { source: { id, text, isQuestion, images, citations }, draw(source, blocks), isShown() }; `draw` gets
// null for the blocks if the text is to be shown plain, and may be called again with better ones.
export const render = (drawing) => {
  const { source } = drawing;
  incomplete.delete(drawing);
  if (refused.has(source.id)) return drawing.draw(source, null);
  drawing.notBefore ||= 0;
  drawing.plainTimer ||= setTimeout(() => {
    drawing.plainTimer = 0;
    if (drawing.isShown()) drawing.draw(drawing.source, null);
  }, SHOW_PLAIN_AFTER);
  queue.add(drawing);
  pump();
};

// Load what rendering needs, for the first answer.
export const prepare = () => {
  if (!worker && failures < 3) startWorker();
  ready().catch(() => {});
};

// Resolves once all texts are drawn.
export const drawn = () => (queue.size || running ? new Promise((resolve) => waiting.push(resolve)) : Promise.resolve());
