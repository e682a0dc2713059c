// The thinking of an answer: folded above the answer, as plain text, and open for as long as the person wants.
import { h } from "./dom.js";
import { t } from "./words.js";

export const showThinking = (row, entry) => {
  let details = row.querySelector(":scope > .thinking");
  if (!entry.thinking) {
    details?.remove();
    return;
  }
  if (details?.of !== entry.id) {
    details?.remove();
    details = h("details", { class: "thinking" }, h("summary"), h("div", { tabindex: "0" }, ""));
    Object.assign(details, { of: entry.id, shown: "" });
  }
  const author = row.querySelector(":scope > .author");
  if (author.nextSibling !== details) author.after(details);
  const [summary, box] = details.children;
  const title = entry.writing && !entry.text ? t("Thinking…") : t("Thinking");
  if (summary.textContent !== title) summary.textContent = title;
  if (details.shown === entry.thinking) return;
  // Only what is new is added: a long text is not laid out anew with every word.
  if (details.shown && entry.thinking.startsWith(details.shown))
    box.firstChild.appendData(entry.thinking.slice(details.shown.length));
  else box.textContent = entry.thinking.trimStart();
  details.shown = entry.thinking;
};
