// The models: their labels, places and states, and the chosen one.
import { call, loadModule, me } from "./api.js";
import { onChange, open } from "./conversation.js";
import { find, h, icon, openMenu, place } from "./dom.js";
import { attempt, showNotices } from "./notices.js";
import { change, onProfile, profile } from "./profile.js";
import { duration, minutesSince, money, t, translated } from "./words.js";

const POLL_AFTER = 10_000; // ms
const STATES = {
  ready: ["●", t("ready")],
  loading: ["◐", t("loading")],
  waiting: ["◔", t("waiting for GPUs")],
  asleep: ["☾", t("asleep")],
  unavailable: ["○", t("not available")],
  "not set up": ["○", t("not set up")],
};

const PLACES = {
  "own-gpus": t("on this chat's GPUs"),
  "vertex-ai": t("on Google Vertex AI"),
  "gemini-api": t("on Google's Gemini API"),
  "this-computer": t("on this chat's server"),
  "other-server": t("on another server"),
};
// In a chat for one person at home, the server is that person's computer.
const LOCAL_PLACES = { "own-gpus": t("on your GPUs"), "this-computer": t("on this computer") };
export const isLocal = () => me.kind === "local";
export const placeName = (place) => (isLocal() && LOCAL_PLACES[place]) || PLACES[place] || "";

let models = [];
let chosen = "";
let storeNotices = [];
const listeners = new Set();
// Call `listener()` when another model is chosen or the chosen one has changed.
export const onChoice = (listener) => listeners.add(listener);
const readinessListeners = new Set();
// Call `listener()` when other models are ready than before.
export const onReadiness = (listener) => readinessListeners.add(listener);

export const byId = (id) => models.find((model) => model.id === id);
export const chosenModel = () => byId(chosen);
export const allModels = () => models;
export const isDemo = (id) => id === "demo";
export const readyOther = (id) => models.find((model) => model.id !== id && model.state === "ready");

// A shape and a word: a state is never shown by colour alone.
const stateOf = (model) => {
  const [shape, word] = STATES[model.state] || STATES.unavailable;
  return h(
    "span",
    { class: `state state-${model.state.replaceAll(" ", "-")}` },
    h("i", { "aria-hidden": "true" }, shape),
    ` ${word}`,
  );
};

const unreadyTime = (model) => {
  const minutes = model.since ? minutesSince(model.since) : 0;
  return minutes ? t("for {time}", { time: duration(60 * minutes) }) : "";
};

// Why a model is not ready and for how long; "" where its state already says so.
const unreadyReason = (model) => {
  const reason = translated(model.reason);
  if (model.state === "ready" || !reason || reason === (STATES[model.state] || [])[1]) return "";
  return [reason, unreadyTime(model)].filter(Boolean).join(" ");
};

// A label in the reader's language: labels are names, but for the demo model's.
export const labelOf = (label) => translated({ template: label });

// What can be downloaded to this computer: {recommended, downloading}; null where nothing can be.
export let local = null;
const offersLocalModels = () => Boolean(local) && isLocal();
// The model to offer, while only the demo model answers.
export const offered = () =>
  offersLocalModels() && !models.some(({ id, state }) => state === "ready" && !isDemo(id)) ? local.recommended : null;
export const openLocalModels = async () => {
  const module = await attempt(() => loadModule("local_models"));
  await module?.open();
};
let isWatched = false;
const watchDownload = async () => {
  if (!offersLocalModels() || Boolean(local.downloading) === isWatched) return;
  isWatched = Boolean(local.downloading);
  if (isWatched) (await loadModule("local_models").catch(() => null))?.watch();
};

let embeddings = "";
// Where the text of documents goes besides the model; "" for nowhere.
export const embeddingsPlaceName = () => placeName(embeddings);

export const setModels = ({ models: now, notices = [], default: first, local: localNow = null, embeddingsPlace = "" }) => {
  embeddings = embeddingsPlace;
  const hadOffer = offered()?.id;
  const wereReady = readyIds();
  local = localNow;
  watchDownload();
  models = now.map((model) => ({ ...model, label: labelOf(model.label) }));
  storeNotices = notices;
  if (!byId(chosen)) chosen = byId(storedModel()) ? storedModel() : first || models[0]?.id || "";
  if (offered()?.id !== hadOffer) announcedModel = ""; // the first screen shows it
  update();
  if (readyIds() !== wereReady) readinessListeners.forEach((listener) => listener());
};

const readyIds = () => models.filter(({ state }) => state === "ready").map(({ id }) => id).join();
const storedModel = () => open.item?.model || ""; // the conversation may have loaded before the models

export const choose = (id) => {
  chosen = id;
  update();
};

let announcedModel = ""; // the chosen model as listeners know it

const update = () => {
  const model = chosenModel();
  if (!model) return;
  const button = find("#model");
  button.replaceChildren(h("bdi", {}, model.label), stateOf(model), icon("down"));
  showNotices([...storeNotices.map((words) => ({ words: translated(words) })), ...unreadyNotice(model)]);
  const now = JSON.stringify(model);
  if (now === announcedModel) return; // models are polled
  announcedModel = now;
  listeners.forEach((listener) => listener());
};

const unreadyNotice = (model) => {
  if (model.state === "ready") return [];
  const fix = model.fix ? t("To use it: {fix}.", { fix: model.fix }) : "";
  const reason = [translated(model.reason) || STATES[model.state][1], unreadyTime(model)].filter(Boolean).join(" ");
  const words = `${t("{model}: {reason}.", { model: model.label, reason: { translated: reason } })} ${fix}`;
  const other = readyOther(model.id);
  if (!other) return [{ words }];
  if (profile.allowFallback)
    return [
      {
        words: `${words} ${t("{model} answers for now.", { model: other.label })}`,
        actions: [[t("Turn off"), () => change(() => ({ allowFallback: false }))]],
      },
    ];
  return [
    {
      words,
      actions: [[t("Use {model} for now", { model: other.label }), () => change(() => ({ allowFallback: true }))]],
    },
  ];
};

const modelItem = (model, list) =>
  h(
    "button",
    {
      type: "button",
      role: "menuitemradio",
      "aria-checked": String(model.id === chosen),
      "data-model": model.id,
      onclick: () => (list.hidePopover(), choose(model.id)),
    },
    h("span", { class: "name" }, h("bdi", {}, model.label), model.id === chosen && icon("check")),
    h(
      "span",
      { class: "details" },
      stateOf(model),
      [placeName(model.place), model.images && t("supports images")].filter(Boolean).map((fact) => ` · ${fact}`),
    ),
    unreadyReason(model) && h("span", { class: "details" }, unreadyReason(model)),
    model.price && h("span", { class: "details" }, priceText(model)),
  );

const downloadItem = (list) =>
  h(
    "button",
    { type: "button", role: "menuitem", onclick: () => (list.hidePopover(), openLocalModels()) },
    h("span", { class: "name" }, t("Download a model…")),
    h("span", { class: "details" }, t("It runs on this computer, and what you write stays on it.")),
  );

const openModelMenu = async (button) => {
  const list = h("div", { popover: "auto", role: "menu", class: "menu models", "aria-label": t("Model") });
  const fill = () => {
    const focused = list.contains(document.activeElement) && document.activeElement.dataset.model;
    list.replaceChildren(
      ...models.map((model) => modelItem(model, list)),
      ...(offersLocalModels() ? [downloadItem(list)] : []),
    );
    if (focused) (find(`[data-model="${CSS.escape(focused)}"]`, list) || list.firstElementChild).focus();
  };
  fill();
  openMenu(button, list, find("[aria-checked=true]", list) || undefined);
  const shown = JSON.stringify(models);
  await refresh(); // a server on this computer may have got another model
  if (!list.matches(":popover-open") || JSON.stringify(models) === shown) return;
  fill();
  place(list, button);
};

const priceText = ({ price: { input, output } }) =>
  t("{input} in, {output} out per million tokens", { input: money(input), output: money(output) });

const poll = async () => {
  if (!document.hidden) await refresh();
};

export const refresh = async () => {
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
      onclick: (event) => openModelMenu(event.currentTarget),
    }),
  );
  onProfile(update);
  onChange((what, differs) => {
    if (what === "loaded" && differs("model") && byId(open.item.model)) choose(open.item.model);
  });
  setInterval(poll, POLL_AFTER);
  document.addEventListener("visibilitychange", poll);
};
