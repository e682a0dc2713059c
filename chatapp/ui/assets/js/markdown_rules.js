// What the chat's Markdown does otherwise than CommonMark, as rules for markdown-it.

// --- Emphasis beside punctuation (marked#3838, and "CJK-friendly emphasis" of markdown-cjk-friendly) ---
// CommonMark looks for spaces around a word. Hebrew, Arabic and Chinese write punctuation and prefixes without any:
// a closing ** that follows punctuation and precedes such a letter shows as stars.
const SPACED_SCRIPTS = /[\p{Script=Latin}\p{Script=Greek}\p{Script=Cyrillic}]/u;
const isUnspaced = (character) => /[\p{L}\p{M}]/u.test(character) && !SPACED_SCRIPTS.test(character);
const isPunctuation = (character) => /[\p{P}\p{S}]/u.test(character);
const isSpace = (character) => character === "" || /\s/.test(character);
const LOOKED_AT = 4; // characters of punctuation between the mark and a letter

const characterBefore = (text, at) => {
  const low = text[at - 1] || "";
  return /[\udc00-\udfff]/.test(low) ? text.slice(Math.max(0, at - 2), at) : low;
};
const characterAfter = (text, at) => (at < text.length ? String.fromCodePoint(text.codePointAt(at)) : "");

// Whether a letter of such a script is next to the mark, with no more than punctuation between.
const isNearUnspaced = (text, start, end) => {
  let [before, after] = [characterBefore(text, start), characterAfter(text, end)];
  if (/[\u060c\u061b\u061f\u05be\u3000-\u303f\uff00-\uffef]/.test(before + after)) return true;
  for (let i = 0; i < LOOKED_AT && before && isPunctuation(before); i++)
    before = characterBefore(text, (start -= before.length));
  for (let i = 0; i < LOOKED_AT && after && isPunctuation(after); i++)
    after = characterAfter(text, (end += after.length));
  return isUnspaced(before) || isUnspaced(after);
};

// Whether an underscore, which otherwise is a part of names, is a mark: between a letter outside and punctuation inside,
// and two of them after a prefix of the word.
const beginsBeside = (outside, inside, length) =>
  isUnspaced(outside) && (isPunctuation(inside) || (length > 1 && isUnspaced(inside)));

export const emphasis = (markdown) => {
  const State = markdown.inline.State;
  const scanDelims = State.prototype.scanDelims;
  // A class of its own, so that no other instance changes.
  markdown.inline.State = class extends State {
    scanDelims(start, canSplitWord) {
      const result = scanDelims.call(this, start, canSplitWord);
      const end = start + result.length;
      if (!isNearUnspaced(this.src, start, end)) return result;
      const before = characterBefore(this.src, start);
      const after = characterAfter(this.src, end);
      const isOpening = !isSpace(after) && (canSplitWord || beginsBeside(before, after, result.length));
      const isClosing = !isSpace(before) && (canSplitWord || beginsBeside(after, before, result.length));
      return { ...result, can_open: result.can_open || isOpening, can_close: result.can_close || isClosing };
    }
  };
};

// --- Addresses ---
// Punctuation of other scripts, and the marks of directions and of citations, which no address contains.
const END_OF_ADDRESS = /[\u061c\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\u060c\u061b\u061f\u06d4\u3001\u3002\u3008-\u3011\u201c\u201d\uff01\uff08\uff09\uff0c\uff1a\uff1b\uff1f\ufffc].*$/s;
const AFTER_ADDRESS = /(?:[.,:;!?'"|\u05be\u05f3\u05f4\u2018\u2019]|~~)+$/;

const WWW = /^[a-z\d-]+(?:\.[a-z\d-]+)+(?:\/[^\s<>"'()]*)?/i;
const MAX_HOST = 500; // characters

export const addresses = (markdown) => {
  // Only with a scheme: "main.rs" and "notes.py" are no hosts.
  markdown.linkify.set({ fuzzyLink: false, fuzzyEmail: false, fuzzyIP: false });
  markdown.linkify.add("www.", {
    validate: (text, at) => WWW.exec(text.slice(at, at + MAX_HOST))?.[0].length || 0,
    normalize: (found) => (found.url = `https://${found.url}`),
  });
  const { linkify } = markdown;
  const [match, matchAtStart] = [linkify.match.bind(linkify), linkify.matchAtStart.bind(linkify)];
  linkify.match = (text) => match(text)?.map(trimmed).filter(Boolean) || null;
  linkify.matchAtStart = (text) => trimmed(matchAtStart(text));
};

// A link without what follows its address; null if nothing is left of it.
const trimmed = (found) => {
  if (!found) return null;
  const raw = found.raw.replace(END_OF_ADDRESS, "").replace(AFTER_ADDRESS, "");
  if (/^\w+:\/*$/.test(raw)) return null;
  if (raw.length === found.raw.length) return found;
  const url = found.schema === "www." ? `https://${raw}` : raw;
  return Object.assign(found, { raw, text: raw, url, lastIndex: found.index + raw.length });
};

// --- Task lists, line breaks in tables, links ---
const TASK = /^\[([ xX])\] /;
const BREAK = /<br\s*\/?>/i;

const tasks = (tokens, Token) =>
  tokens.forEach((token, i) => {
    if (token.type !== "inline" || tokens[i - 1]?.type !== "paragraph_open" || tokens[i - 2]?.type !== "list_item_open")
      return;
    const first = token.children[0];
    const mark = first?.type === "text" && TASK.exec(first.content);
    if (!mark) return;
    first.content = first.content.slice(mark[0].length);
    token.children.unshift(Object.assign(new Token("task", "", 0), { meta: { isDone: mark[1] !== " " } }));
    tokens[i - 2].attrJoin("class", "task-item");
  });

const cellBreaks = (tokens, Token) =>
  tokens.forEach((token, i) => {
    if (token.type !== "inline" || !/^t[hd]_open$/.test(tokens[i - 1]?.type || "")) return;
    token.children = token.children.flatMap((child) => {
      if (child.type !== "text" || !BREAK.test(child.content)) return [child];
      return child.content.split(BREAK).flatMap((content, part) => [
        ...(part ? [new Token("hardbreak", "br", 0)] : []),
        Object.assign(new Token("text", "", 0), { content }),
      ]);
    });
  });

// Links to the chat itself, but for a conversation's, stay text: they could sign the person out or start a download.
const links = (tokens, isAllowed) =>
  tokens.forEach((token) => {
    if (!token.children?.some(({ type }) => type === "link_open")) return;
    let isRemoved = false;
    token.children = token.children.filter((child) => {
      if (child.type === "link_open") isRemoved = !isAllowed(child.attrGet("href"));
      if (child.type === "link_open" && !isRemoved)
        Object.entries({ target: "_blank", rel: "noopener noreferrer nofollow" }).forEach(([name, it]) =>
          child.attrSet(name, it),
        );
      return !(isRemoved && /^link_(open|close)$/.test(child.type));
    });
  });

export const afterParsing = (isAllowedLink) => (markdown) =>
  markdown.core.ruler.push("chat", (state) => {
    tasks(state.tokens, state.Token);
    cellBreaks(state.tokens, state.Token);
    links(state.tokens, isAllowedLink);
  });
