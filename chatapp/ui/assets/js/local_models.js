// Models that can be downloaded to this computer: the dialog with all of them, and the progress of a download.
import { call } from "./api.js";
import { confirmed, find, h, iconButton } from "./dom.js";
import * as models from "./models.js";
import { attempt, showError, showToast } from "./notices.js";
import { duration, number, t, translated } from "./words.js";

const POLL_AFTER = 1000; // ms, while a download is in progress or the dialog is open
const GB = 1e9;
const gigabytes = (bytes) => t("{size} GB", { size: Number((bytes / GB).toFixed(1)) });
const inWhole = (seconds) => (seconds < 90 ? seconds : 60 * Math.round(seconds / 60));
const percent = (model) => Math.floor((100 * model.arrived) / model.size);

let shown = []; // the models of the dialog
let dialog = null;
let recommended = ""; // id of the model that stands first
let wanted = ""; // id of the model whose download this page has started
let timer = 0;

const pathOf = (model, action = "") => `local-models/${encodeURIComponent(model.id)}${action}`;

const act = async (method, path, body) => {
  showError("");
  const done = await attempt(() => call(method, path, body));
  await refresh();
  return done;
};

const download = (model) => {
  wanted = model.id;
  return act("POST", pathOf(model, "/download"), { acceptLicence: true });
};

const remove = async (model) => {
  const question = t("Remove {model} from this computer? It can be downloaded again.", { model: model.label });
  if (!(await confirmed(question, t("Remove"), t("Cancel")))) return;
  await act("DELETE", pathOf(model));
  await models.refresh();
};

const choose = (model) => (models.choose(model.id), dialog?.close());

const refresh = async () => {
  clearTimeout(timer);
  const now = await call("GET", "local-models").catch(() => null);
  if (now) await update(now.models);
  if (dialog || shown.some(({ state }) => state === "downloading")) timer = setTimeout(refresh, POLL_AFTER);
};

const update = async (now) => {
  shown = [...now].sort((one, other) => (other.id === recommended) - (one.id === recommended));
  draw();
  drawProgress(shown.find(({ state }) => state === "downloading"));
  const mine = shown.find(({ id }) => id === wanted);
  if (mine?.state === "downloaded") {
    wanted = "";
    await models.refresh();
    models.choose(mine.id);
    dialog?.close();
    showToast(t("{model} is ready.", { model: mine.label }));
  } else if (mine?.error) {
    wanted = "";
    if (!dialog) showError(translated(mine.error));
  }
};

const facts = (model) =>
  [
    gigabytes(model.size),
    model.languages === 1 && t("English only"),
    model.languages > 1 && t("more than {number} languages", { number: model.languages }),
    model.images && t("supports images"),
  ].filter(Boolean);

const button = (label, onclick, properties = {}) => h("button", { type: "button", onclick, ...properties }, label);

const actions = (model) => {
  if (model.state === "downloading")
    return [progressOf(model), button(t("Cancel"), () => act("POST", pathOf(model, "/cancel"), {}))];
  if (model.state === "downloaded")
    return [
      button(t("Use this model"), () => choose(model), { class: "primary" }),
      button(t("Remove"), () => remove(model)),
    ];
  if (model.problem) return [h("span", { class: "details" }, translated(model.problem))];
  const label = !model.licenceAccepted
    ? t("Accept the licence and download")
    : model.state === "partial"
      ? t("Continue the download ({percent} %)", { percent: percent(model) })
      : t("Download");
  return [
    button(label, () => download(model), { class: !recommended || model.id === recommended ? "primary" : "" }),
    model.state === "partial" && button(t("Remove"), () => remove(model)),
  ];
};

const progressOf = (model) => {
  const parts = [
    t("{percent} % of {size}", { percent: percent(model), size: gigabytes(model.size) }),
    model.speed && t("{speed} MB/s", { speed: Number((model.speed / 1e6).toFixed(1)) }),
    model.secondsLeft !== null && t("{time} left", { time: duration(inWhole(model.secondsLeft)) }),
  ];
  const label = t("Download of {model}", { model: model.label });
  return h(
    "div",
    { class: "progress" },
    h("progress", { max: model.size, value: model.arrived, "aria-label": label }),
    h("span", { class: "details" }, parts.filter(Boolean).join(" · ")),
  );
};

const row = (model) =>
  h(
    "li",
    { "data-model": model.id },
    h("strong", {}, h("bdi", {}, model.label)),
    model.id === recommended && h("span", { class: "details" }, t("Recommended for this computer")),
    h("span", { class: "details" }, facts(model).join(" · ")),
    h(
      "span",
      { class: "details" },
      h("a", { href: model.licenceUrl, target: "_blank", rel: "noopener" }, t("Licence: {name}", { name: model.licence })),
    ),
    model.error && h("span", { class: "note" }, translated(model.error)),
    h("div", { class: "row" }, actions(model)),
  );

// A row is replaced only where it has changed, so that a button keeps the focus while another model is downloaded.
const draw = () => {
  const list = dialog && find("ul", dialog);
  if (!list) return;
  shown.forEach((model, i) => {
    const now = JSON.stringify(model);
    if (list.children[i]?.shown === now) return;
    const focused = list.children[i]?.contains(document.activeElement);
    const next = Object.assign(row(model), { shown: now });
    if (list.children[i]) list.children[i].replaceWith(next);
    else list.append(next);
    if (focused) next.querySelector("button")?.focus();
  });
};

// Above the message box, so that the progress is seen while the demo model answers.
const drawProgress = (model) => {
  let box = find("#download");
  if (!model || dialog) return box?.remove();
  if (!box) {
    box = h("div", { id: "download", class: "notice" });
    find("#notices").prepend(box);
  }
  const label = t("Downloading {model}", { model: model.label });
  box.replaceChildren(button(label, () => open(), { class: "link" }), progressOf(model));
};

// Open the dialog with all models.
export const open = async () => {
  recommended = models.offered()?.id || "";
  dialog = h(
    "dialog",
    { class: "local-models", "aria-label": t("Models on this computer") },
    h("header", {}, h("h2", {}, t("Models on this computer")), iconButton("close", t("Close"), () => dialog.close())),
    h("p", {}, t("They run on this computer, and what you write stays on it.")),
    h("ul", {}),
  );
  dialog.addEventListener("close", (event) => {
    event.target.remove();
    dialog = null;
    refresh();
  });
  document.body.append(dialog);
  dialog.showModal();
  await refresh();
};

// Show the progress of a download that another page or the terminal has started.
export const watch = refresh;
