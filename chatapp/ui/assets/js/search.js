// The search through all conversations. Its results take the place of the list.
import { call } from "./api.js";
import { listChanged, loadMore, titleOf } from "./conversation_lists.js";
import { directed } from "./direction.js";
import { h } from "./dom.js";
import { searchBox } from "./gradio_bridge.js";
import { addressOf, openConversation } from "./navigation.js";
import { attempt } from "./notices.js";
import { t } from "./words.js";

const SEARCH_AFTER = 200; // ms without another letter

let query = "";
let withThinking = false;
let hits = null; // {items, cursor} while something is searched for
export const isSearching = () => Boolean(hits);

let timer = 0;
const address = () => `search?${new URLSearchParams({ q: query, ...(withThinking && { thinking: true }) })}`;
const search = (text) => {
  clearTimeout(timer);
  query = (text || "").trim();
  if (!query) {
    hits = null;
    return listChanged();
  }
  const searched = address();
  timer = setTimeout(
    () =>
      attempt(async () => {
        const page = await call("GET", searched);
        if (searched !== address()) return; // what is searched for has changed meanwhile
        hits = { items: page.hits, cursor: page.cursor };
        listChanged();
      }),
    SEARCH_AFTER,
  );
};

const status = () => {
  if (hits.items.length) return t("Results: {number}", { number: hits.items.length });
  return hits.cursor ? t("No results so far") : t("No results");
};

const rows = new WeakMap(); // hit -> its element
const rowOf = (hit) => {
  if (!rows.has(hit)) rows.set(hit, createRow(hit));
  return rows.get(hit);
};

const createRow = (hit) =>
  h(
    "li",
    {},
    h(
      "a",
      {
        href: addressOf(hit.conversation.id),
        onclick: (event) => {
          event.preventDefault();
          openConversation(hit.conversation.id, { message: hit.message, showThinking: hit.inThinking });
        },
      },
      h("b", {}, directed(titleOf(hit.conversation))),
      h("span", {}, directed(hit.before + hit.match + hit.after, hit.before, h("mark", {}, hit.match), hit.after)),
    ),
  );

const heading = h("h2", { role: "status" });
const option = h(
  "label",
  { class: "search-option" },
  h("input", {
    type: "checkbox",
    onchange: (event) => {
      withThinking = event.target.checked;
      search(query);
    },
  }),
  t("Search the models' thinking, too"),
);
const items = h("ul", { class: "hits" });
const more = h(
  "button",
  { type: "button", class: "link", onclick: () => loadMore(hits, address()) },
  t("Show older conversations"),
);

// The elements of the results.
export const results = () => {
  heading.textContent = status();
  items.replaceChildren(...hits.items.map(rowOf));
  return [heading, items, hits.cursor && more, option]; // Tab leads to the first result
};

export const start = () => searchBox().addEventListener("input", (event) => search(event.target.value));
