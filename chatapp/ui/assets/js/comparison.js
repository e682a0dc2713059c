// Comparison: each question goes to two models or two temperatures at once, and the person chooses one answer.
import { onChange } from "./conversation.js";
import { find, h, icon, popUp } from "./dom.js";
import { messageBox } from "./gradio_bridge.js";
import * as models from "./models.js";
import { current, setCompareWith } from "./parameters.js";
import { number, t } from "./words.js";

const update = () => {
  const { compareWith } = current;
  const button = find("#compare");
  button.classList.toggle("on", Boolean(compareWith));
  button.setAttribute("aria-pressed", String(Boolean(compareWith)));
  const model = compareWith && models.byId(compareWith.model);
  find("#compared").replaceChildren(
    ...(compareWith
      ? [
          h(
            "span",
            { class: "chip" },
            t("Comparing with {model} (temperature {value})", {
              model: model?.label || compareWith.model,
              value: compareWith.temperature,
            }),
            h("button", { type: "button", class: "link", onclick: stop }, t("Stop comparing")),
          ),
        ]
      : []),
  );
};

const stop = () => {
  setCompareWith(null);
  update();
};

const panel = (button) => {
  const compareWith = current.compareWith || {
    model: models.readyOther(models.chosenModel()?.id)?.id || models.chosenModel()?.id,
    temperature: current.temperature,
    top_p: current.top_p,
  };
  const model = h(
    "select",
    {},
    models.allModels().map((it) => h("option", { value: it.id, selected: it.id === compareWith.model }, it.label)),
  );
  const shown = h("output", {}, number(compareWith.temperature));
  const temperature = h("input", { type: "range", min: 0.1, max: 1, step: 0.05, value: compareWith.temperature });
  temperature.addEventListener("input", () => (shown.value = number(Number(temperature.value))));
  const go = () => {
    setCompareWith({ model: model.value, temperature: Number(temperature.value), top_p: current.top_p });
    form.hidePopover();
    update();
    messageBox().focus();
  };
  const form = h(
    "div",
    { popover: "auto", class: "menu compare", role: "dialog", "aria-label": t("Compare two answers") },
    h("p", {}, t("Each question gets two answers, side by side. Keep the better one.")),
    h("label", {}, t("Second model"), model),
    h("div", { class: "between" }, h("label", {}, t("Temperature"), temperature), shown),
    h(
      "div",
      { class: "row" },
      current.compareWith &&
        h("button", { type: "button", onclick: () => (form.hidePopover(), stop()) }, t("Stop comparing")),
      h("button", { type: "button", class: "primary", onclick: go }, t("Compare")),
    ),
  );
  popUp(button, form, model);
};

export const start = () => {
  const label = t("Compare two answers");
  find("#tools .chat-tools").append(
    h(
      "button",
      {
        type: "button",
        id: "compare",
        "aria-label": label,
        title: label,
        "aria-pressed": "false",
        onclick: (event) => panel(event.currentTarget),
      },
      icon("columns"),
    ),
  );
  find("#tools").append(h("div", { id: "compared" }));
  onChange((what) => what === "opened" && update());
};
