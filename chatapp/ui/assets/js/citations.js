// The citations of an answer: a small number after each quote. Pointing at it shows the quote as the document has it, a
// click opens the document there. The server has found each quote in its document. Loaded with the first of them.
import { loadModule } from "./api.js";
import { citedPageName, documentOf, kindOf, openDocument, shownName } from "./documents.js";
import { h } from "./dom.js";
import { number, t } from "./words.js";

const SHOWN_AFTER = 150; // ms: the pointer may only pass by

// The number of each citation: those of the same quote have the same one.
const numbersOf = (citations) => {
  const places = new Map();
  return citations.map(({ document, page, start, stop }) => {
    const place = [document, page, start, stop].join();
    if (!places.has(place)) places.set(place, places.size + 1);
    return places.get(place);
  });
};

const labelOf = (citation, number) => {
  const { collection, name } = citation;
  const document = collection ? { name, kind: kindOf(name) } : documentOf(citation.document);
  if (!document) return t("Source {number}", { number }); // its message is not loaded
  const page = citedPageName(document, citation);
  if (!page) return t("Source {number}: {name}", { number, name: shownName(document.name) });
  return t("Source {number}: {name}, {page}", { number, name: shownName(document.name), page: { translated: page } });
};

let timer = 0;
let viewer = null;
const point = (button, citation) => {
  clearTimeout(timer);
  timer = setTimeout(async () => {
    viewer ||= await loadModule("document_viewer").catch(() => null);
    if (button.matches(":hover, :focus-visible")) viewer?.showQuote(button, citation);
  }, SHOWN_AFTER);
};
const leave = () => {
  clearTimeout(timer);
  viewer?.hideQuoteSoon();
};

// Fill the place of the citation `index` of an answer's citations.
export const drawCitation = (place, citations, index) => {
  const citation = citations[index];
  const shown = numbersOf(citations)[index];
  const button = h(
    "button",
    {
      type: "button",
      "aria-label": labelOf(citation, shown),
      onclick: () => (leave(), viewer?.hideQuote(), openDocument(citation.document, citation)),
      onpointerenter: ({ pointerType }) => pointerType === "mouse" && point(button, citation),
      onpointerleave: leave,
      onfocus: () => button.matches(":focus-visible") && point(button, citation),
      onblur: leave,
    },
    number(shown),
  );
  place.dataset.number = number(shown);
  place.replaceChildren(button);
};

// What the numbers stand for, on paper.
export const sourcesOf = (citations) => {
  const numbers = numbersOf(citations);
  return citations
    .map((citation, i) => numbers.indexOf(numbers[i]) === i && h("div", {}, labelOf(citation, numbers[i])))
    .filter(Boolean);
};
