// Turns the text of an answer into HTML, one string for each block. Runs in a worker (render_worker.js), without a DOM.
//
// HTML in a text is shown, not used. What comes out is cleaned once more on the DOM (sanitizer.js).
import MarkdownIt from "../vendor/markdown-it.js";
import { citations } from "./citation_marks.js";
import { addresses, afterParsing, emphasis } from "./markdown_rules.js";
import { mathematics } from "./math_rules.js";
import { pixelsOf } from "./picture_size.js";
import { directionOfBlock } from "./text_direction.js";

const MAX_NESTING = 32; // deeper quotes and lists leave no room for words
const MAX_TAGS = 40_000; // in one message
const MAX_BLOCK_TAGS = 8_000; // in one block, which is drawn in one go: cleaning and layout take about 0.1 s
const MAX_LENGTH = 4_000_000; // characters of HTML
const MAX_FORMULA = 4_000; // characters
const MAX_CODE = 50_000; // characters that are highlighted
const MAX_FORMULA_HTML = 300_000; // characters, about 2,000 symbols
const MAX_KEPT = 1000; // formulas and blocks of code that are kept rendered
const MAX_KEPT_LENGTH = 10_000_000; // characters of all of them
const MAX_PICTURES = 50; // in one message
const MAX_PIXELS = 4_000_000; // of a picture in the text: 16 MB once it is decoded
const MAX_PIXELS_IN_TOTAL = 16_000_000; // in one message
const PICTURE = /^data:image\/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/=]+$/;
const OWN_PICTURE = /^(?:\.{0,2}\/)*conversations\/[\w-]+\/images\/[\w-]+$/;
const LINK = /^(?:https?:\/\/|mailto:)/i;
const OWN_CONVERSATION = /\/c\/[A-Za-z0-9-]{1,80}$/;
const LANGUAGE = /^[\w+#.-]{1,40}/;
const LISTS = /^(?:bullet_list|ordered_list|blockquote|table)_open$/;

class TooMuch extends Error {}

export const isAllowedLink = (href) => {
  if (!LINK.test(href) || href.startsWith("mailto:")) return LINK.test(href);
  try {
    const { origin, pathname, search } = new URL(href);
    return origin !== self.location.origin || (OWN_CONVERSATION.test(pathname) && !search);
  } catch {
    return false;
  }
};

const markdown = MarkdownIt({ html: false, linkify: true, breaks: true, maxNesting: MAX_NESTING });
markdown.validateLink = (url) => LINK.test(url) || PICTURE.test(url) || OWN_PICTURE.test(url);
[emphasis, addresses, mathematics, afterParsing(isAllowedLink), citations].forEach((rules) => markdown.use(rules));
export const escaped = markdown.utils.escapeHtml;
export const linksIn = (text) => markdown.linkify.match(text) || [];

// The libraries for formulas and code are loaded when a text needs them.
export const libraries = { math: null, highlight: null };
const kept = new Map();
let keptLength = 0;
const keep = (key, render) => {
  if (!kept.has(key)) {
    const html = render();
    keptLength += key.length + html.length;
    if (kept.size > MAX_KEPT || keptLength > MAX_KEPT_LENGTH) {
      kept.clear();
      keptLength = key.length + html.length;
    }
    kept.set(key, html);
  }
  return kept.get(key);
};

const formula = ({ content, markup, meta }, env) => {
  const source = `<code class="formula">${escaped(markup)}</code>`;
  if (env.isPlain || content.length > MAX_FORMULA) return source;
  if (!libraries.math) {
    env.missing.add("math");
    return source;
  }
  return keep(`${meta.display} ${content}`, () => {
    try {
      const options = { displayMode: meta.display, trust: false, strict: "ignore", maxExpand: 200, maxSize: 20 };
      const html = libraries.math.renderToString(content, options);
      return html.length > MAX_FORMULA_HTML ? source : html;
    } catch {
      return source; // it is no mathematics, or nested too deep
    }
  });
};

const highlighted = (code, language, env) => {
  const { highlight } = libraries;
  if (!highlight) env.missing.add("highlight");
  if (!highlight?.getLanguage(language) || env.isPlain || code.length > MAX_CODE) return escaped(code);
  return keep(`${language} ${code}`, () => highlight.highlight(code, { language, ignoreIllegals: true }).value);
};

// A block of code. The page adds the button that copies it.
export const codeBlock = (code, info, env) => {
  const language = LANGUAGE.exec(info.trim())?.[0] || "";
  const text = code.replace(/\n$/, "");
  if (!language) return `<div class="code-block"><pre><code>${escaped(text)}</code></pre></div>`;
  const name = escaped(language);
  const content = language === "mermaid" ? escaped(text) : highlighted(text, language, env);
  return (
    `<div class="code-block"><pre data-language="${name}">` +
    `<code class="language-${name}">${content}</code></pre></div>`
  );
};

// Whether one more picture may be decoded in this message.
const isWithinBounds = (src, pictures) => {
  if (++pictures.count > MAX_PICTURES) return false;
  if (!PICTURE.test(src)) return true; // of the conversation: the chat has bounded it
  const pixels = pixelsOf(src);
  if (!pixels || pixels > MAX_PIXELS) return false;
  return (pictures.pixels += pixels) <= MAX_PIXELS_IN_TOTAL;
};

Object.assign(markdown.renderer.rules, {
  math: (tokens, i, _, env) => formula(tokens[i], env),
  math_block: (tokens, i, _, env) => `<p class="formula-block">${formula(tokens[i], env)}</p>`,
  fence: (tokens, i, _, env) => codeBlock(tokens[i].content, tokens[i].info, env),
  code_block: (tokens, i, _, env) => codeBlock(tokens[i].content, "", env),
  task: (tokens, i) => (tokens[i].meta.isDone ? '<span class="task done">☑</span> ' : '<span class="task">☐</span> '),
  // Pictures of other sites are links: loading one would tell that site who reads this, and when.
  image: (tokens, i, options, env, renderer) => {
    const src = tokens[i].attrGet("src");
    const alt = escaped(renderer.renderInlineAsText(tokens[i].children, options, env));
    const isOwn = OWN_PICTURE.test(src);
    if ((isOwn || PICTURE.test(src)) && !isWithinBounds(src, env.pictures)) return alt;
    if (PICTURE.test(src)) return `<img src="${src}" alt="${alt}" loading="lazy">`;
    if (isOwn) {
      const own = `${env.images}${src.slice(src.lastIndexOf("/") + 1)}`; // of this conversation
      return own === src.replace(/^[./]+/, "") ? `<img src="${own}" alt="${alt}" loading="lazy">` : alt;
    }
    if (!isAllowedLink(src)) return alt;
    return `<a href="${escaped(src)}" target="_blank" rel="noopener noreferrer nofollow">${alt || escaped(src)}</a>`;
  },
});

// The tokens of each top-level block.
const blocksOf = (tokens) => {
  if (tokens.length > MAX_TAGS / 2) throw new TooMuch("blocks");
  const blocks = [[]];
  for (const token of tokens) {
    if (token.nesting === 1 && token.level >= MAX_NESTING - 1) throw new TooMuch("nesting"); // markdown-it drops the rest
    blocks.at(-1).push(token);
    if (token.level === 0 && token.nesting !== 1) blocks.push([]);
  }
  return blocks.slice(0, -1);
};

// The words that decide a block's direction; an address has none.
const wordsOf = (block) => {
  let words = "";
  for (const { children } of block) {
    let isAddress = false;
    for (const { type, content, info } of children || []) {
      if (/^link_(?:open|close)$/.test(type)) isAddress = type === "link_open" && info === "auto";
      words += type === "text" && !isAddress ? content : " ";
    }
  }
  return words;
};

const htmlOf = (blocks, environment) => {
  const env = { ...environment, pictures: { count: 0, pixels: 0 } };
  const result = [];
  let [tags, length] = [0, 0];
  for (const block of blocks) {
    const [first] = block;
    if (first.nesting === 1) first.attrSet("dir", directionOfBlock(wordsOf(block), { isList: LISTS.test(first.type) }));
    const html = markdown.renderer.render(block, markdown.options, env);
    const before = tags;
    for (let at = html.indexOf("<"); at >= 0; at = html.indexOf("<", at + 1)) tags++;
    length += html.length;
    if (tags - before > MAX_BLOCK_TAGS || tags > MAX_TAGS || length > MAX_LENGTH) throw new TooMuch("elements");
    result.push(html);
  }
  return result;
};

// The HTML of the blocks; null where plain text is better: nested too deep, or too many elements.
export const render = (text, { images, missing, secret }) => {
  try {
    const env = { images, missing, secret };
    const blocks = blocksOf(markdown.parse(text, env));
    try {
      return htmlOf(blocks, env);
    } catch (error) {
      if (!(error instanceof TooMuch)) throw error;
      return htmlOf(blocks, { ...env, isPlain: true }); // without formulas and colours
    }
  } catch (error) {
    if (error instanceof TooMuch || error instanceof RangeError) return null;
    throw error;
  }
};
