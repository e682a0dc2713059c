// Turns a question into HTML, one string for each block: the text as it was written, with links and blocks of code.
import { codeBlock, escaped, isAllowedLink, linksIn } from "./markdown.js";

const FENCE = /^ {0,3}(`{3,}|~{3,})(.*)$/;

// The line that ends the fence of line `at`; 0 if there is none.
const endOfFence = (lines, at, [, fence, info], unclosed) => {
  const kind = fence[0];
  if ((kind === "`" && info.includes("`")) || fence.length >= (unclosed[kind] || Infinity)) return 0;
  for (let i = at + 1; i < lines.length; i++) {
    const end = FENCE.exec(lines[i]);
    if (end && end[1][0] === kind && end[1].length >= fence.length && !end[2].trim()) return i;
  }
  unclosed[kind] = fence.length; // so no later fence as long as this one is searched for
  return 0;
};

const linked = (text) => {
  let done = 0;
  let html = "";
  for (const { index, lastIndex, url } of linksIn(text)) {
    if (!isAllowedLink(url)) continue;
    const words = escaped(text.slice(index, lastIndex));
    html += escaped(text.slice(done, index));
    html += `<a href="${escaped(url)}" target="_blank" rel="noopener noreferrer nofollow">${words}</a>`;
    done = lastIndex;
  }
  return html + escaped(text.slice(done));
};

export const asWritten = (text, env) => {
  const lines = text.split("\n");
  const blocks = [];
  const unclosed = {};
  let words = [];
  const flush = () => {
    if (words.length) blocks.push(`<div class="as-written">${linked(words.join("\n"))}</div>`);
    words = [];
  };
  for (let i = 0; i < lines.length; i++) {
    const fence = FENCE.exec(lines[i]);
    const end = fence && endOfFence(lines, i, fence, unclosed);
    if (end) {
      flush();
      blocks.push(codeBlock(lines.slice(i + 1, end).join("\n"), fence[2], env));
      i = end;
    } else words.push(lines[i]);
  }
  flush();
  return blocks;
};
