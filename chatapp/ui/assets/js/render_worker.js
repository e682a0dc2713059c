// The worker that turns the texts of messages into HTML. renderer.js ends it if a text takes too long.
import { asWritten } from "./as_written.js";
import { withMarks } from "./citation_marks.js";
import { libraries, render } from "./markdown.js";

// Characters that change the direction of the text after them: they could make a link or a name read as another.
const TURNING = /[\u202A-\u202E\u2066-\u2069]/g;
const SOURCES = { highlight: () => new URL("../vendor/highlight.js", import.meta.url).href };
console.warn = () => {}; // KaTeX warns of every letter that its fonts lack, such as all Hebrew ones
const loading = {};

const load = (name) => {
  loading[name] ||= import(SOURCES[name]()).then(
    (module) => {
      libraries[name] = module.default;
      postMessage({ loaded: name });
    },
    () => delete loading[name], // tried again with the next text that needs it
  );
};

onmessage = ({ data: { id, text, isQuestion, images, marks, katex } }) => {
  SOURCES.math = () => katex;
  const missing = new Set();
  let blocks = null;
  try {
    const source = marks ? withMarks(text, marks.ends, marks.secret) : text;
    blocks = (isQuestion ? asWritten : render)(source.replace(TURNING, ""), { images, missing, secret: marks?.secret });
  } catch (error) {
    console.error(error);
  }
  postMessage({ id, blocks, isIncomplete: missing.size > 0 });
  missing.forEach(load);
};
postMessage({ isReady: true });
