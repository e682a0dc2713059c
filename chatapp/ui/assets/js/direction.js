// Each block of text takes the direction of its own first letters. Only top-level blocks: `dir` on nested cells would
// break tables apart, and code always reads left to right (see page.css).

const BLOCKS = "#messages .prose > :not([dir], .code_wrap, pre)";
const BOXES = "textarea:not([dir=auto])";
// Code that opens a Hebrew line must not decide its direction: `auto` passes over what has a direction of its own.
const LEFT_TO_RIGHT = "#messages .prose :is(code, .katex):not([dir])";
const CODE = "#messages pre:not([tabindex])";

// Gradio makes every part of the page left to right, whatever the page is.
const FORCED = ".gradio-container .block[dir=ltr]";

const markIn = (root) => {
  root.querySelectorAll(FORCED).forEach((element) => element.removeAttribute("dir"));
  root.querySelectorAll(LEFT_TO_RIGHT).forEach((element) => (element.dir = "ltr"));
  root.querySelectorAll(BLOCKS).forEach((element) => (element.dir = "auto"));
  root.querySelectorAll(BOXES).forEach((element) => (element.dir = "auto"));
  root.querySelectorAll(CODE).forEach(markCode);
};

// The language's name above code; and wide code can be scrolled by keyboard.
const markCode = (pre) => {
  pre.tabIndex = 0;
  const language = /language-([\w+#-]+)/.exec(pre.querySelector("code")?.className || "")?.[1];
  if (language) pre.dataset.language = language;
};

export const start = () => {
  markIn(document);
  new MutationObserver((changes) => {
    // From the parent, because a block may be what was added. A message that did not change is not looked at again.
    for (const parent of new Set(changes.map((change) => change.target)))
      if (parent instanceof Element && parent.isConnected) markIn(parent.parentElement || parent);
  }).observe(document.body, { childList: true, subtree: true });
};
