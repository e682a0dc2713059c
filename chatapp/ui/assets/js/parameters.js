// The answer settings: the sliders and the instructions, and all parameters that are sent with a question.
import { onChange, open } from "./conversation.js";
import { find, h, icon, place } from "./dom.js";
import { componentUpdate, refreshParameters, sliderInputs } from "./gradio_bridge.js";
import * as models from "./models.js";
import { change, onProfile, profile } from "./profile.js";
import { t, translated } from "./words.js";

const SENTENCES = {
  temperature: t("Lower: focused and consistent. Higher: varied and surprising."),
  top_p: t("How many of the likely words to consider. Lower keeps to the likeliest."),
  max_tokens: t("The longest an answer can be. A token is about three quarters of an English word."),
};
const SAVE_AFTER = 500; // ms

let defaults = {}; // the layout's values
export const current = { system_prompt: "", persona: "", compareWith: null };
export const setDefaults = (values) => Object.assign(current, (defaults = values));

// The parameters that are sent with a question.
export const requestParameters = () => {
  const { compareWith, ...rest } = current;
  return {
    ...rest,
    model: models.chosenModel()?.id || "",
    allowFallback: profile.allowFallback,
    ...(compareWith && { compareWith }),
  };
};

// The end of the range of Max tokens, which depends on the model.
const mostTokens = () => models.chosenModel()?.maxAnswerTokens || 4096;

let isReplaced = false; // the values are another conversation's, or the defaults
const replaceValues = () => {
  isReplaced = true;
  refreshParameters();
  update();
};

// The components' new values after `refreshParameters`.
export const parametersValue = () => {
  const unsupported = models.chosenModel()?.unsupported || {};
  // What is being typed may not have reached `current` yet.
  const isTyped = (name) => !isReplaced && find(`#${name.replaceAll("_", "-")}`).contains(document.activeElement);
  const slider = (name) =>
    componentUpdate({
      ...(!isTyped(name) && { value: current[name] }),
      interactive: !unsupported[name],
      info: unsupported[name] ? translated(unsupported[name]) : SENTENCES[name],
    });
  const maxTokens = slider("max_tokens");
  maxTokens.maximum = mostTokens();
  if ("value" in maxTokens) maxTokens.value = Math.min(current.max_tokens, mostTokens());
  const instructions = isTyped("system_prompt") ? {} : { value: current.system_prompt };
  const values = [slider("temperature"), slider("top_p"), maxTokens, componentUpdate(instructions)];
  isReplaced = false;
  return values;
};

let timer = 0; // while a change is not saved yet
export const parametersChanged = (temperature, top_p, max_tokens) => {
  // A model with a shorter range shows less than is set, and does not change that.
  if (max_tokens === Math.min(current.max_tokens, mostTokens())) max_tokens = current.max_tokens;
  const values = { temperature, top_p, max_tokens };
  if (Object.entries(values).every(([name, it]) => current[name] === it)) return;
  Object.assign(current, values);
  update();
  clearTimeout(timer);
  timer = setTimeout(() => ((timer = 0), change(() => ({ parameters: values }))), SAVE_AFTER);
};

export const instructionsChanged = (text) => {
  current.system_prompt = text || "";
  update();
};

export const setInstructions = (text, persona) => {
  Object.assign(current, { system_prompt: text, persona });
  replaceValues();
};

export const resetParameters = () => {
  clearTimeout(timer);
  timer = 0;
  Object.assign(current, defaults);
  replaceValues();
  change(() => ({ parameters: null }));
};

export const setCompareWith = (compareWith) => {
  current.compareWith = compareWith;
  update();
};

const listeners = new Set();
export const onParameters = (listener) => listeners.add(listener);

const update = () => {
  listeners.forEach((listener) => listener());
  const isDefault = Object.entries(defaults).every(([name, it]) => current[name] === it);
  find("#parameters-button").classList.toggle("on", !isDefault);
};

export const start = () => {
  const panel = find("#parameters");
  panel.setAttribute("popover", "auto");
  for (const [id, name] of [
    ["temperature", t("Temperature")],
    ["top-p", t("Top-p")],
    ["max-tokens", t("Max tokens")],
  ]) {
    const inputs = sliderInputs(id);
    inputs.range?.setAttribute("aria-label", t("{name}, as a slider", { name }));
    inputs.number?.setAttribute("aria-label", t("{name}, as a number", { name }));
  }
  const label = t("Answer settings");
  const button = h(
    "button",
    { type: "button", id: "parameters-button", "aria-label": label, title: label },
    icon("sliders"),
  );
  button.popoverTargetElement = panel;
  panel.addEventListener("toggle", (event) => event.newState === "open" && place(panel, button));
  find("#tools .chat-tools").append(button);
  onProfile(() => {
    if (timer) return; // the profile has the values before
    const values = profile.parameters || defaults;
    if (Object.keys(defaults).every((name) => current[name] === values[name])) return;
    Object.assign(current, values);
    refreshParameters();
    update();
  });
  models.onChoice(() => refreshParameters());
  onChange((what, differs) => {
    if (what === "opened") {
      current.compareWith = null;
      setInstructions("", "");
    }
    if (what === "loaded" && (differs("systemPrompt") || differs("persona")))
      setInstructions(open.item.systemPrompt || "", open.item.persona);
  });
};
