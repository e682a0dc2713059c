// The models: what each is, where it runs and how it is; which one is chosen.
import { call } from "./api.js";
import { onChange, open } from "./conversation.js";
import { find, h, icon, openMenu } from "./dom.js";
import { last } from "./notices.js";
import { change, onProfile, profile } from "./profile.js";
import { minutesSince, said, t } from "./words.js";

const LOOK = 10_000; // ms
const STATES = {
  ready: ["●", t("ready")],
  loading: ["◐", t("loading")],
  waiting: ["◔", t("waiting for GPUs")],
  unavailable: ["○", t("not available")],
  "not set up": ["○", t("not set up")],
};

const PLACES = {
  "own-gpus": t("on your GPUs"),
  "vertex-ai": t("on Google Vertex AI"),
  "gemini-api": t("on Google's Gemini API"),
  "this-computer": t("on this computer"),
  "other-server": t("on another server"),
};
export const placeName = (place) => PLACES[place] || "";

let models = [];
let chosen = "";
let storeNotices = [];
const listeners = new Set();
// Call `listener()` when another model is chosen, or something of the chosen one is different.
export const onChoice = (listener) => listeners.add(listener);

export const byId = (id) => models.find((model) => model.id === id);
export const chosenModel = () => byId(chosen);
export const allModels = () => models;
export const readyOther = (id) => models.find((model) => model.id !== id && model.state === "ready");

// A shape and a word: never told by colour alone.
const stateOf = (model) => {
  const [shape, word] = STATES[model.state] || STATES.unavailable;
  return h(
    "span",
    { class: `state state-${model.state.replaceAll(" ", "-")}` },
    h("i", { "aria-hidden": "true" }, shape),
    ` ${word}`,
  );
};

const since = (model) => {
  const minutes = model.since ? minutesSince(model.since) : 0;
  return minutes ? t("for {minutes} min", { minutes }) : "";
};

// Why it is not ready, and since when; "" where its state says all of it.
const why = (model) => {
  const reason = said(model.reason);
  if (model.state === "ready" || !reason || reason === (STATES[model.state] || [])[1]) return "";
  return [reason, since(model)].filter(Boolean).join(" ");
};

export const setModels = ({ models: now, notices = [], default: first }) => {
  models = now;
  storeNotices = notices;
  if (!byId(chosen)) chosen = byId(kept()) ? kept() : first || models[0]?.id || "";
  update();
};

const kept = () => open.item?.model || ""; // it may have been there before the models were

export const choose = (id) => {
  chosen = id;
  update();
};

let heard = ""; // what those who listen were last told of

const update = () => {
  const model = chosenModel();
  if (!model) return;
  const button = find("#model");
  button.replaceChildren(h("bdi", {}, model.label), stateOf(model), icon("down"));
  last([...storeNotices.map((words) => ({ words: said(words) })), ...notice(model)]);
  const now = JSON.stringify(model);
  if (now === heard) return; // models are looked at again and again
  heard = now;
  listeners.forEach((listener) => listener());
};

const notice = (model) => {
  if (model.state === "ready") return [];
  const fix = model.fix ? t("To use it: {fix}.", { fix: model.fix }) : "";
  const words =
    [`${model.label}: ${said(model.reason) || STATES[model.state][1]}`, since(model)].filter(Boolean).join(" ") +
    `. ${fix}`;
  const other = readyOther(model.id);
  if (!other) return [{ words }];
  if (profile.allowFallback)
    return [
      {
        words: `${words} ${t("{model} answers for now.", { model: other.label })}`,
        actions: [[t("Turn off"), () => change({ allowFallback: false })]],
      },
    ];
  return [
    {
      words,
      actions: [[t("Use {model} for now", { model: other.label }), () => change({ allowFallback: true })]],
    },
  ];
};

const pick = (button) => {
  const list = h(
    "div",
    { popover: "auto", role: "menu", class: "menu models", "aria-label": t("Model") },
    models.map((model) =>
      h(
        "button",
        {
          type: "button",
          role: "menuitemradio",
          "aria-checked": String(model.id === chosen),
          onclick: () => (list.hidePopover(), choose(model.id)),
        },
        h("span", { class: "name" }, h("bdi", {}, model.label), model.id === chosen && icon("check")),
        h(
          "span",
          { class: "details" },
          stateOf(model),
          [placeName(model.place), model.images && t("supports images")].filter(Boolean).map((fact) => ` · ${fact}`),
        ),
        why(model) && h("span", { class: "details" }, why(model)),
        model.price && h("span", { class: "details" }, t("${input} in, ${output} out per million tokens", model.price)),
      ),
    ),
  );
  openMenu(button, list, find("[aria-checked=true]", list) || undefined);
};

const look = async () => {
  if (document.hidden) return;
  const now = await call("GET", "models").catch(() => null);
  if (now) setModels(now);
};

export const start = () => {
  find("#tools .chat-tools").prepend(
    h("button", {
      type: "button",
      id: "model",
      "aria-haspopup": "menu",
      title: t("Model"),
      onclick: (event) => pick(event.currentTarget),
    }),
  );
  onProfile(update);
  onChange((what) => {
    if (what === "loaded" && byId(open.item.model)) choose(open.item.model);
  });
  setInterval(look, LOOK);
  document.addEventListener("visibilitychange", look);
};
