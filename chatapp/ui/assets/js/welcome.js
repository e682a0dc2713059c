// The first visit: example questions, and one line on who answers and where conversations are stored.
import { onChange, open } from "./conversation.js";
import { find, h } from "./dom.js";
import { messageBox, setMessageText } from "./gradio_bridge.js";
import * as models from "./models.js";
import { t } from "./words.js";

const EXAMPLES = [
  t("Explain in five sentences how a vaccine works."),
  t("Write a friendly message that moves Thursday's meeting to Monday."),
  t("Make a table of three hiking trips for a family with small children."),
];

// What the demo model can do, which knows no other language: docs/demo-model.md.
const DEMO_EXAMPLES = [
  "Explain in two sentences how a vaccine works.",
  "Write a Python function that reverses a string.",
  "Make this shorter: The meeting that we had planned for Thursday has been moved to Monday, because several people are ill.",
];

let store = "";
// Set the kind of store that the history is in: "sqlite" or "firestore".
export const setStore = (kind) => (store = kind);

const storage = () => {
  if (open.isTemporary) return t("This chat is temporary: it is never stored and disappears when you leave it.");
  if (models.isLocal() && store === "sqlite") return t("Your conversations are stored in a file on this computer.");
  if (models.isLocal()) return t("Your conversations are stored in Google Firestore, in your project.");
  return t(
    "The operator of this chat stores your conversations; other users can't see them. You can download or delete them.",
  );
};

const privacy = () => {
  const model = models.chosenModel();
  if (!model) return "";
  const place = models.placeName(model.place);
  const answers = place
    ? t("{model} answers, {place}.", { model: model.label, place: { translated: place } })
    : t("The chosen model answers.");
  return `${answers} ${storage()}`;
};

// A better model that this computer can run.
const showOffer = (place) => {
  const model = models.offered();
  if (place.dataset.model === (model?.id || "")) return;
  place.dataset.model = model?.id || "";
  place.replaceChildren(
    ...(model
      ? [
          h("p", {}, t("This computer can run a better model: {model}.", { model: model.label })),
          h("button", { type: "button", class: "primary", onclick: models.openLocalModels }, t("Get a better model")),
        ]
      : []),
  );
};

export const start = () => {
  const line = h("p", { id: "privacy" });
  const examples = h("div", { class: "examples" });
  const offer = h("div", { class: "row offer" });
  const use = (text) => (setMessageText(text), messageBox().focus());
  const showExamples = (texts, properties = {}) => {
    if (examples.textContent === texts.join("")) return;
    examples.replaceChildren(
      ...texts.map((text) => h("button", { type: "button", onclick: () => use(text), ...properties }, text)),
    );
  };
  find("#messages").before(
    h(
      "section",
      { id: "welcome", "aria-label": t("Welcome") },
      h("h2", {}, t("How can I help?")),
      examples,
      offer,
      line,
    ),
  );
  const update = () => {
    if (models.isDemo(models.chosenModel()?.id)) showExamples(DEMO_EXAMPLES, { lang: "en", dir: "ltr" });
    else showExamples(EXAMPLES);
    showOffer(offer);
    const words = privacy();
    if (line.textContent !== words) line.textContent = words;
  };
  models.onChoice(update);
  onChange(update);
  update();
};
