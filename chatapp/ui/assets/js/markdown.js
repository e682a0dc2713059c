// Turns the text of a message into Markdown for Gradio's chatbot, with HTML tags escaped.
//
// Gradio's sanitizer removes scripts but keeps tags, styles and classes: a text could draw buttons that look like the
// page's. Code stays unchanged, because Gradio shows it literally.
const FENCE = /^ {0,3}(?:[-*+>]\s+|\d+[.)]\s+)*(`{3,}|~{3,})/;
const CODE = /(`+)(?!`)([\s\S]*?[^`])\1(?!`)/g;
const DISPLAY = /(\$\$[\s\S]*?\$\$|\\\[[\s\S]*?\\\]|\\\([\s\S]*?\\\))/g;
// $...$ is mathematics by Pandoc's rule: no space inside the dollars, no digit after them. Other dollars are prices.
const DOLLARS = /(?<![\\$\w])\$(?=[^\s$])((?:\\.|[^$\\\n])*?[^\s\\$])\$(?![\d$])/g;
const TAG = /<(?=[a-z/!?])/gi;
// Characters that change the direction of the text after them: they could make a link or a name read as another.
const TURNING = /[\u202A-\u202E\u2066-\u2069]/g;

const prose = (text) =>
  text
    .split(DISPLAY)
    .map((part, i) => (i % 2 ? part : part.replace(DOLLARS, "\\($1\\)")))
    .join("")
    .replace(TAG, "&lt;");

const outsideCode = (text) => {
  let done = 0;
  let result = "";
  for (const match of text.matchAll(CODE)) {
    result += prose(text.slice(done, match.index)) + match[0];
    done = match.index + match[0].length;
  }
  return result + prose(text.slice(done));
};

export const guarded = (text) => {
  const result = [];
  let paragraph = [];
  let fence = "";
  const flush = () => {
    if (paragraph.length) result.push(outsideCode(paragraph.join("\n")));
    paragraph = [];
  };
  for (const line of text.replace(TURNING, "").split("\n")) {
    const mark = FENCE.exec(line)?.[1];
    if (fence) {
      result.push(line);
      const end = line.trim().replace(/^(?:>\s*)+/, "");
      if (mark && mark[0] === fence[0] && mark.length >= fence.length && end === mark) fence = "";
    } else if (mark && !(mark[0] === "`" && line.slice(line.indexOf(mark) + mark.length).includes("`"))) {
      flush();
      result.push(line);
      fence = mark;
    } else {
      // A code span ends with its paragraph at the latest.
      if (!line.trim()) flush();
      paragraph.push(line);
    }
  }
  flush();
  return result.join("\n");
};
