// Cleans the HTML of a message on the DOM: only these elements, attributes, classes and styles come into the page.
//
// The renderer makes no others; this holds even if a text finds a way through it.
import { MATHEMATICS } from "./gradio_bridge.js";

const MARKDOWN = "a blockquote br code del div em h1 h2 h3 h4 h5 h6 hr img li ol p pre s span strong table tbody td th thead tr ul";
const MATHML =
  "annotation math menclose merror mfrac mi mmultiscripts mn mo mover mpadded mphantom mroot mrow mspace msqrt mstyle " +
  "msub msubsup msup mtable mtd mtext mtr munder munderover semantics";
const DRAWING = "svg path line g";
const ATTRIBUTES = "alt class data-language dir href loading rel src start style target title";
const MATH_ATTRIBUTES =
  "accent accentunder aria-hidden columnalign columnlines columnspacing d depth display displaystyle encoding fence " +
  "height linebreak linethickness lspace mathbackground mathcolor mathsize mathvariant maxsize minsize notation " +
  "preserveAspectRatio rowlines rowspacing rspace scriptlevel separator stretchy symmetric viewBox voffset width " +
  "x1 x2 xmlns y1 y2";
const OWN_CLASSES = /^(?:as-written|citation-\d+|code-block|done|formula|formula-block|task|task-item|hljs-[\w-]+|[a-z]+_+|language-[\w+#.-]{1,40})$/;
const ADDRESS = /^(?:https?:\/\/|mailto:|data:image\/(?:png|jpeg|gif|webp);base64,|conversations\/[\w-]+\/images\/[\w-]+$)/i;
// What KaTeX sets. No addresses, no position but a relative one.
const MATH_STYLE =
  /^(?:(?:min-|max-)?(?:width|height)|top|bottom|left|right|vertical-align|(?:margin|padding)(?:-\w+)?|border(?:-\w+)*|font-\w+|line-height|color|background-color|text-\w+)$/;
const MATH_VALUE = /^(?:-?[\d.]+(?:em|ex|px|pt|%)?|#[\da-f]{3,8}|[a-z]+|rgba?\([\d., ]+\)|\s)+$/i;
const TABLE_ALIGNMENT = /^(?:left|right|center)$/;

const words = (text) => text.split(" ");
const inMathOnly = new Set(words(`${MATHML} ${DRAWING}`));
const mathAttributes = new Set(words(MATH_ATTRIBUTES));
const OPTIONS = {
  ALLOWED_TAGS: words(`${MARKDOWN} ${MATHML} ${DRAWING}`),
  ALLOWED_ATTR: words(`${ATTRIBUTES} ${MATH_ATTRIBUTES}`),
  ALLOW_ARIA_ATTR: false,
  ALLOW_DATA_ATTR: false,
  ALLOWED_URI_REGEXP: ADDRESS,
  ADD_URI_SAFE_ATTR: words(`${ATTRIBUTES} ${MATH_ATTRIBUTES}`).filter((name) => !/^(?:href|src)$/.test(name)),
  RETURN_DOM_FRAGMENT: true,
};

const cleanStyle = (element, isMath) => {
  const { style } = element;
  for (const name of [...style]) {
    const value = style.getPropertyValue(name);
    const isAllowed = isMath
      ? (MATH_STYLE.test(name) && MATH_VALUE.test(value)) || (name === "position" && value === "relative")
      : name === "text-align" && /^t[hd]$/i.test(element.tagName) && TABLE_ALIGNMENT.test(value);
    if (!isAllowed) style.removeProperty(name);
  }
  if (!style.length) element.removeAttribute("style");
};

const cleanElement = (element) => {
  const name = element.localName;
  const isMath = Boolean(element.closest(MATHEMATICS));
  if (inMathOnly.has(name) && !isMath) return element.remove();
  if (!isMath) for (const { name: attribute } of [...element.attributes]) if (mathAttributes.has(attribute)) element.removeAttribute(attribute);
  if (element.hasAttribute("style")) cleanStyle(element, isMath);
  if (!isMath && element.hasAttribute("class")) {
    const allowed = [...element.classList].filter((it) => OWN_CLASSES.test(it) || isRootOfMath(element, it));
    if (allowed.length) element.setAttribute("class", allowed.join(" "));
    else element.removeAttribute("class");
  }
};
const isRootOfMath = (element, name) => name === "katex-display" && element.firstElementChild?.matches(MATHEMATICS);

let purify = null;
// Load the library; rejects if it cannot be loaded.
export const ready = () =>
  (loading ||= import("../vendor/purify.js").then(
    () => {
      purify = window.DOMPurify(window);
      purify.addHook("afterSanitizeAttributes", (node) => node.nodeType === Node.ELEMENT_NODE && cleanElement(node));
    },
    (error) => {
      loading = null;
      throw error;
    },
  ));
let loading = null;

// A fragment with what is allowed of the HTML.
export const clean = (html) => purify.sanitize(html, OPTIONS);
