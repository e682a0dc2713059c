// Puts the places of citations into the Markdown of an answer before it is parsed, and finds them in the tokens.
//
// A mark has the page's secret, so that no text of a model makes one. It begins and ends with a symbol, and follows a
// quotation mark: emphasis beside it is parsed as it would be without it.
const SIGN = "\ufffc";
const SIGNS = "(?:\ufffc|%EF%BF%BC)"; // the second in addresses
// Where a mark would take a link apart: "[a](b "title")" and "[a]: b "title"".
const IN_TARGET = /\]\([^()\n]*$/;
const REST_OF_TARGET = /^[^()\n]*\)/;
const LOOKED_AT = 2000; // characters
const DEFINITION = /^ {0,3}\[[^\]\n]+\]:/;

// The text with a mark after each of `ends`: offsets in UTF-16 units, in order. The mark has the index.
export const withMarks = (text, ends, secret) => {
  let [result, done] = ["", 0];
  ends.forEach((end, index) => {
    if (!(end >= done && end <= text.length)) return;
    const line = text.slice(Math.max(end - LOOKED_AT, text.lastIndexOf("\n", end - 1) + 1), end);
    if (DEFINITION.test(line)) return;
    if (IN_TARGET.test(line)) end += REST_OF_TARGET.exec(text.slice(end))?.[0].length || 0;
    result += `${text.slice(done, end)}${SIGN}${secret}-${index}${SIGN}`;
    done = end;
  });
  return result + text.slice(done);
};

// The tokens `citation`, for texts whose `env` has the `secret`. One that is within a link, code, a formula or a picture
// stands behind it.
export const citations = (markdown) => {
  markdown.core.ruler.push("citations", ({ tokens, env, Token }) => {
    if (!env.secret) return;
    const marks = new RegExp(`${SIGNS}${env.secret}-(\\d+)${SIGNS}`);
    const used = new Set(); // an address has the mark of its text, too
    const made = (index) => {
      if (used.has(index)) return [];
      used.add(index);
      return [Object.assign(new Token("citation", "span", 0), { meta: { index, secret: env.secret } })];
    };
    // Remove the marks of a text that shows none, and return their tokens.
    const take = (holder, name) => {
      if (typeof holder[name] !== "string" || !marks.test(holder[name])) return [];
      const parts = holder[name].split(marks);
      holder[name] = parts.filter((_, i) => i % 2 === 0).join("");
      return parts.filter((_, i) => i % 2).flatMap((index) => made(Number(index)));
    };
    const takeAll = (token) => [
      ...["content", "info", "markup"].flatMap((name) => take(token, name)),
      ...(token.attrs || []).flatMap((pair) => take(pair, 1)),
      ...(token.children || []).flatMap(takeAll),
    ];
    const split = (token) =>
      token.content.split(marks).flatMap((part, i) => {
        if (i % 2) return made(Number(part));
        return part ? [Object.assign(new Token("text", "", 0), { content: part, level: token.level })] : [];
      });

    const inLine = (children) => {
      const [result, waiting] = [[], []];
      let links = 0;
      for (const child of children) {
        links += { link_open: 1, link_close: -1 }[child.type] || 0;
        const parts = child.type === "text" ? split(child) : [child, ...takeAll(child)];
        for (const part of parts) (links && part.type === "citation" ? waiting : result).push(part);
        if (!links) result.push(...waiting.splice(0));
      }
      return [...result, ...waiting];
    };
    const paragraph = (children, level) => {
      const [open, line, close] = [
        new Token("paragraph_open", "p", 1),
        new Token("inline", "", 0),
        new Token("paragraph_close", "p", -1),
      ];
      Object.assign(line, { children, content: "" });
      [open, line, close].forEach((token) => Object.assign(token, { level, block: true }));
      return [open, line, close];
    };
    for (let i = 0; i < tokens.length; i++) {
      const token = tokens[i];
      if (token.type === "inline") token.children = inLine(token.children);
      else {
        const behind = takeAll(token);
        if (behind.length) tokens.splice(i + 1, 0, ...paragraph(behind, token.level));
      }
    }
  });
  markdown.renderer.rules.citation = (tokens, i) => {
    const { index, secret } = tokens[i].meta;
    return `<span class="citation-${secret}">${index}</span>`;
  };
};
