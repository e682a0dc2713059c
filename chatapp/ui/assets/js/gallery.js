// The gallery of personas: built-in ones and the person's own, to choose, add, edit and delete.
import { find, h, iconButton } from "./dom.js";
import { messageBox } from "./gradio_bridge.js";
import { current, setInstructions } from "./parameters.js";
import { change, profile } from "./profile.js";
import { newId } from "./stream.js";
import { t } from "./words.js";

const MOST = 40;
export const GALLERY = [
  [
    "pirate",
    "🏴‍☠️",
    t("Pirate"),
    t(
      "You are a pirate captain. Answer everything correctly and helpfully, in the voice of a pirate of the high seas, in the language of the question.",
    ),
  ],
  [
    "teacher",
    "🎓",
    t("Patient teacher"),
    t(
      "You are a patient teacher. Explain step by step in simple words, with one small example, and end with one question that checks whether it was understood.",
    ),
  ],
  [
    "editor",
    "✍️",
    t("Editor"),
    t(
      "You are a careful editor. Improve the text that you are given: clear, correct, in its own voice and language. Give the improved text first, then name the most important changes in a short list.",
    ),
  ],
  [
    "translator",
    "🌍",
    t("Translator"),
    t(
      "You are a translator. Translate Hebrew and Arabic into English, and everything else into Hebrew, unless another language is asked for. Give only the translation.",
    ),
  ],
  [
    "programmer",
    "💻",
    t("Programmer"),
    t(
      "You are an experienced programmer. Answer with short, correct, readable code and a few sentences about why. Name what could go wrong.",
    ),
  ],
  [
    "critic",
    "🔍",
    t("Devil's advocate"),
    t(
      "You are a friendly critic. Find the weakest point in what you are told. Say what would have to be true for it to fail, and how to fix it.",
    ),
  ],
].map(([id, symbol, name, instructions]) => ({ id, symbol, name, instructions }));

const choose = (persona) => {
  setInstructions(persona?.instructions || "", persona?.id || "");
  find("#personas").close();
  messageBox().focus();
};

const card = (persona, isOwn) =>
  h(
    "li",
    {},
    h(
      "button",
      {
        type: "button",
        class: "card",
        "aria-pressed": String(persona.id === current.persona),
        onclick: () => choose(persona),
      },
      h("span", { class: "symbol", "aria-hidden": "true" }, persona.symbol || "👤"),
      h("b", { dir: "auto" }, persona.name),
      h("span", { dir: "auto" }, persona.instructions),
    ),
    isOwn &&
      h(
        "span",
        { class: "card-actions" },
        iconButton("edit", t("Edit {name}", { name: persona.name }), () => form(persona)),
        iconButton("trash", t("Delete {name}", { name: persona.name }), () => remove(persona)),
      ),
  );

const fillDialog = (...content) =>
  find("#personas").replaceChildren(
    h(
      "header",
      {},
      h("h2", {}, t("Personas")),
      iconButton("close", t("Close"), () => find("#personas").close()),
    ),
    ...content,
  );

const gallery = () =>
  fillDialog(
    h("p", {}, t("A persona is a set of instructions that applies to the whole conversation.")),
    h(
      "ul",
      { class: "cards" },
      GALLERY.map((persona) => card(persona, false)),
      profile.personas.map((persona) => card(persona, true)),
    ),
    h(
      "div",
      { class: "row" },
      profile.personas.length < MOST && h("button", { type: "button", onclick: () => form() }, t("New persona")),
      (current.persona || current.system_prompt) &&
        h("button", { type: "button", onclick: () => choose(null) }, t("No persona")),
    ),
  );

const remove = (persona) => {
  change(({ personas }) => ({ personas: personas.filter(({ id }) => id !== persona.id) }));
  gallery();
};

const form = (persona = { id: newId(), name: "", instructions: "" }) => {
  const name = h("input", { required: true, maxlength: 80, dir: "auto", value: persona.name });
  const instructions = h("textarea", { required: true, maxlength: 20000, rows: 8, dir: "auto" }, persona.instructions);
  const save = (event) => {
    event.preventDefault();
    const saved = { id: persona.id, name: name.value.trim(), instructions: instructions.value.trim() };
    if (!saved.name || !saved.instructions) return;
    change(({ personas }) => ({ personas: [...personas.filter(({ id }) => id !== persona.id), saved] }));
    gallery();
  };
  fillDialog(
    h(
      "form",
      { onsubmit: save },
      h("label", {}, t("Name"), name),
      h("label", {}, t("Instructions"), instructions),
      h(
        "div",
        { class: "row" },
        h("button", { type: "button", onclick: gallery }, t("Cancel")),
        h("button", { type: "submit", class: "primary" }, t("Save")),
      ),
    ),
  );
  name.focus();
};

export const open = () => (gallery(), find("#personas").showModal());
