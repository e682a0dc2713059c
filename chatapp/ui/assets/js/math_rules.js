// Mathematics for markdown-it: $...$, $$...$$, \(...\) and \[...\]. Each search for an end is linear over a whole text.
const DISPLAY = { "$$": "$$", "\\[": "\\]" };
const isSpace = (character) => !character || /\s/.test(character);

// The index of the `end` that no backslash escapes, from `at` on; -1 if there is none. A text without one is searched once.
const indexOfEnd = (state, end, at) => {
  const missing = ((state.env.missingEnds ||= new WeakMap()).get(state) || new Set());
  if (missing.has(end)) return -1;
  for (let i = at; i < state.posMax; i++) {
    if (state.src.startsWith(end, i)) return i;
    if (state.src[i] === "\\") i++;
  }
  state.env.missingEnds.set(state, missing.add(end));
  return -1;
};

// A number with words behind it is a price: "between $5 and $10, or x$".
const PRICE = /^\d[\d.,]*[kKmM]?[,;:]?\s[^\\{}^_=]*\p{L}{2}/u;

// Pandoc's rule: no space inside the dollars, no digit after them, one line. Other dollars are prices, and before a name
// in capitals one of its variables.
const dollarEnd = (state) => {
  const { src, pos, posMax } = state;
  if (/[\w$]/.test(src[pos - 1] || "") || isSpace(src[pos + 1])) return -1;
  for (let i = pos + 1; i < posMax; i++) {
    if (src[i] === "\n") return -1;
    if (src[i] === "\\") i++;
    else if (src[i] === "$") return isSpace(src[i - 1]) || /^(?:[\d$]|[A-Z_]{2})/.test(src.slice(i + 1, i + 3)) ? -1 : i;
  }
  return -1;
};

const inline = (state, silent) => {
  const { src, pos } = state;
  let [begin, end] = ["$", "$"];
  if (src.startsWith("$$", pos)) [begin, end] = ["$$", "$$"];
  else if (src.startsWith("\\(", pos)) [begin, end] = ["\\(", "\\)"];
  else if (src.startsWith("\\[", pos)) [begin, end] = ["\\[", "\\]"];
  else if (src[pos] !== "$") return false;
  const at = end === "$" ? dollarEnd(state) : indexOfEnd(state, end, pos + 2);
  if (at < 0) return false;
  const content = src.slice(pos + begin.length, at).trim();
  if (!content || (begin === "$" && PRICE.test(content))) return false;
  if (!silent) {
    const token = state.push("math", "", 0);
    Object.assign(token, { content, markup: src.slice(pos, at + end.length), meta: { display: begin in DISPLAY } });
  }
  state.pos = at + end.length;
  return true;
};

// The index of `end` that no backslash escapes; -1 if there is none. (\\] is a line break and a bracket in a matrix.)
const indexUnescaped = (text, end) => {
  for (let i = 0; i < text.length; i++) {
    if (text.startsWith(end, i)) return i;
    if (text[i] === "\\") i++;
  }
  return -1;
};

// A formula in lines of its own.
const block = (state, startLine, endLine, silent) => {
  const start = state.bMarks[startLine] + state.tShift[startLine];
  const begin = state.src.slice(start, start + 2);
  const end = DISPLAY[begin];
  if (!end) return false;
  const key = `${end} ${endLine}`;
  const missing = (state.env.missingBlockEnds ||= new Map());
  if (missing.get(key) <= startLine) return false;
  let line = startLine;
  for (let from = start + 2; ; from = state.bMarks[line] + state.tShift[line]) {
    const lineEnd = state.eMarks[line];
    const at = indexUnescaped(state.src.slice(from, lineEnd), end);
    if (at >= 0) {
      if (state.src.slice(from + at + 2, lineEnd).trim()) return false; // it goes on: a formula within a line
      break;
    }
    if (++line >= endLine || (state.sCount[line] < state.blkIndent && !state.isEmpty(line))) {
      missing.set(key, startLine);
      return false;
    }
  }
  const markup = state.getLines(startLine, line + 1, state.blkIndent, false).trim();
  const content = markup.slice(2, markup.lastIndexOf(end)).trim();
  if (!content) return false;
  if (silent) return true;
  const token = state.push("math_block", "", 0);
  Object.assign(token, { content, markup, block: true, map: [startLine, line + 1], meta: { display: true } });
  state.line = line + 1;
  return true;
};

export const mathematics = (markdown) => {
  markdown.inline.ruler.before("escape", "math", inline);
  markdown.block.ruler.before("fence", "math_block", block, { alt: ["paragraph", "reference", "blockquote", "list"] });
};
