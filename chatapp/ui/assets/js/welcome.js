// The first thing that is seen: what this is, what to ask, and who can read it.
import { box, write } from "./box.js";
import { onChange, open } from "./conversation.js";
import { find, h } from "./dom.js";
import * as models from "./models.js";
import { t } from "./words.js";

const EXAMPLES = [
  t("Explain in five sentences how a vaccine works."),
  t("Write a friendly message that moves Thursday's meeting to Monday."),
  t("Make a table of three hiking trips for a family with small children."),
];

const privacy = () => {
  const model = models.chosenModel();
  if (!model) return "";
  const place = models.placeName(model.place);
  const goes = place
    ? t("{model} answers, {place}.", { model: model.label, place })
    : t("The chosen model answers.");
  const kept = open.isTemporary
    ? t("This chat is temporary: it is never stored and disappears when you leave it.")
    : t(
        "The operator of this chat stores your conversations; other users can't see them. You can download or delete them.",
      );
  return `${goes} ${kept}`;
};

export const start = () => {
  const line = h("p", { id: "privacy" });
  const use = (text) => (write(text), box().focus());
  find("#messages").before(
    h(
      "section",
      { id: "welcome", "aria-label": t("Welcome") },
      h("h2", {}, t("How can I help?")),
      h(
        "div",
        { class: "examples" },
        EXAMPLES.map((text) => h("button", { type: "button", onclick: () => use(text) }, text)),
      ),
      line,
    ),
  );
  const update = () => {
    const words = privacy();
    if (line.textContent !== words) line.textContent = words;
  };
  models.onChoice(update);
  onChange(update);
};
