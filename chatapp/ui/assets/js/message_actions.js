// The footer of a message: its facts and notes, and the buttons to copy, edit, rate, regenerate and choose a version.
import { copyText } from "./clipboard.js";
import { chooseVersion, continueAnswer, isWriting, open, rate, regenerate } from "./conversation.js";
import { h, icon, iconButton } from "./dom.js";
import { messageRowOf } from "./gradio_bridge.js";
import { edit } from "./message_editing.js";
import { factsOf, notesOf } from "./message_facts.js";
import * as models from "./models.js";
import { showToast } from "./notices.js";
import { requestParameters } from "./parameters.js";
import { dateTime, number, t } from "./words.js";

export const questionFooter = (entry) =>
  h(
    "footer",
    { class: "actions" },
    versions(entry),
    iconButton("edit", t("Edit and resend"), (event) => edit(messageRowOf(event.target), entry)),
    iconButton("copy", t("Copy"), () => copy(entry.text)),
    unsavedSign(entry),
  );

export const answerFooter = (entry) => {
  const isColumn = entry.column > 0; // one of two to choose from
  const isLast = entry === open.entries.at(-1);
  return h(
    "footer",
    {},
    h(
      "div",
      { class: `facts ${entry.writing ? "writing" : ""}`, title: dateTime(entry.created) },
      factsOf(entry).map((fact) => h("span", {}, fact)),
      unsavedSign(entry),
    ),
    notesOf(entry).map((note) => h("div", { class: "note" }, note)),
    !entry.writing &&
      h(
        "div",
        { class: "actions" },
        versions(entry),
        isColumn &&
          h(
            "button",
            { type: "button", class: "keep", onclick: () => chooseVersion(entry.id) },
            icon("check"),
            t("Choose this answer"),
          ),
        isLast &&
          entry.canContinue &&
          !isColumn &&
          h(
            "button",
            { type: "button", class: "go-on", onclick: () => continueAnswer(requestParameters()) },
            t("Continue"),
          ),
        isLast && entry.status === "error" && otherModelButton(entry),
        iconButton("copy", t("Copy"), () => copy(entry.text)),
        !isColumn &&
          iconButton(
            "again",
            t("Regenerate"),
            unlessWriting(() => regenerate(entry.follows, requestParameters())),
            { "data-waits": true },
          ),
        ratingButton(entry, "up", "thumbUp", t("Good answer")),
        ratingButton(entry, "down", "thumbDown", t("Bad answer")),
      ),
  );
};

const unsavedSign = (entry) => {
  const why = t("Stored on one server so far. It is copied to the cloud as soon as the cloud responds.");
  return entry.saved === false && h("span", { class: "unsaved", role: "note", title: why }, t("Not fully saved yet"));
};

const otherModelButton = (entry) => {
  const other = models.readyOther(entry.model);
  if (!other) return null;
  const again = () => regenerate(entry.follows, { ...requestParameters(), model: other.id });
  return h(
    "button",
    { type: "button", class: "go-on", onclick: again },
    t("Answer with {model}", { model: other.label }),
  );
};

// An action that the server rejects while an answer is written. Its button stays enabled and explains that.
const unlessWriting = (action) => () =>
  isWriting() ? showToast(t("An answer is being written. Wait until it is finished, or stop it first.")) : action();
export const markWaiting = (root, isWaiting) =>
  root.querySelectorAll("[data-waits]").forEach((button) => button.setAttribute("aria-disabled", String(isWaiting)));

const ratingButton = (entry, feedback, iconName, label) => {
  const isGiven = entry.feedback === feedback;
  return iconButton(
    iconName,
    label,
    unlessWriting(() => rate(entry.id, isGiven ? "" : feedback)),
    { "aria-pressed": String(isGiven), "data-waits": true },
  );
};

const versions = (entry) => {
  const all = entry.versions || [];
  if (all.length < 2 || entry.column) return null;
  const at = all.indexOf(entry.id);
  const step = (to, iconName, label) =>
    iconButton(
      iconName,
      label,
      unlessWriting(() => chooseVersion(all[to])),
      { disabled: all[to] === undefined, "data-waits": true },
    );
  return h(
    "span",
    { class: "versions", role: "group", "aria-label": t("Versions") },
    step(at - 1, "previous", t("Previous version")),
    h("span", {}, h("bdi", {}, `${number(at + 1)}/${number(all.length)}`)),
    step(at + 1, "next", t("Next version")),
  );
};

const copy = (text) => copyText(text, t("Copied"), 2);
