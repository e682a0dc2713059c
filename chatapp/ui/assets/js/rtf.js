// The text of a document in RTF, for a clipboard that has nothing else. Loaded when it is needed.
const DESTINATIONS =
  /^(?:fonttbl|colortbl|stylesheet|listtable|listoverridetable|rsidtbl|generator|info|pict|object|header\w?|footer\w?|footnote|themedata|datastore|xmlnstbl|mmathPr|latentstyles|fldinst|filetbl|revtbl|pntext|bkmkstart|bkmkend)$/;
const WORDS = {
  ...{ par: "\n", line: "\n", row: "\n", sect: "\n", page: "\n", tab: "\t", cell: "\t", emdash: "—", endash: "–" },
  ...{ lquote: "‘", rquote: "’", ldblquote: "“", rdblquote: "”", bullet: "•", zwj: "\u200d", zwnj: "\u200c" },
  ...{ ltrmark: "\u200e", rtlmark: "\u200f" },
};
const SYMBOLS = { "~": "\u00a0", "-": "", _: "\u2011", "\n": "\n", "\r": "\n" };
// A control word with its number, an escaped byte, another symbol, a brace, a line break of the file, or text.
const TOKEN = /\\([a-zA-Z]{1,32})(-?\d{1,10})? ?|\\'([\da-fA-F]{2})|\\([^a-zA-Z])|([{}])|[\r\n]+|([^\\{}\r\n]+)/g;

const decoderOf = (page) => {
  try {
    return new TextDecoder(`windows-${page}`);
  } catch {
    return new TextDecoder("windows-1252");
  }
};

export const textOfRtf = (rtf) => {
  let text = "";
  let decoder = decoderOf(1252);
  let bytes = []; // of letters in the code page
  let skipped = 0; // characters that stand for the last \u, for readers that do not know it
  let state = { isHidden: false, fallback: 1 };
  const outer = [];
  const flush = () => {
    if (bytes.length) text += decoder.decode(Uint8Array.from(bytes));
    bytes = [];
  };
  const add = (more) => {
    const rest = more.slice(skipped);
    skipped = Math.max(0, skipped - more.length);
    if (!state.isHidden && rest) (flush(), (text += rest));
  };
  for (const [, word, number, byte, symbol, brace, plain] of rtf.matchAll(TOKEN)) {
    if (brace === "{") (outer.push(state), (state = { ...state }));
    else if (brace) state = outer.pop() || state;
    else if (plain) add(plain);
    else if (byte) {
      if (skipped) skipped--;
      else if (!state.isHidden) bytes.push(parseInt(byte, 16));
    } else if (symbol === "*") state.isHidden = true;
    else if (symbol) add(SYMBOLS[symbol] ?? symbol);
    else if (word === "u") {
      skipped = 0;
      add(String.fromCharCode(Number(number) & 0xffff));
      skipped = state.fallback;
    } else if (word === "uc") state.fallback = Number(number);
    else if (word === "ansicpg") decoder = decoderOf(number);
    else if (DESTINATIONS.test(word)) state.isHidden = true;
    else if (Object.hasOwn(WORDS, word)) (flush(), (skipped = 0), add(WORDS[word]));
  }
  flush();
  return text.replace(/\t\n/g, "\n").trim();
};
