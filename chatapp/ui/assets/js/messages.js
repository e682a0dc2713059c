// Adds to each row of Gradio's chatbot, which renders the texts: the author, facts about the answer, and buttons.
import { pathOf } from "./api.js";
import {
  chooseVersion,
  continueAnswer,
  isWriting,
  onChange,
  open,
  rate,
  regenerate,
  send,
  showEarlier,
} from "./conversation.js";
import { copyText, find, h, icon, iconButton } from "./dom.js";
import {
  cleanMessages,
  isMessageScroller,
  messageList,
  messageRowOf,
  messageRows,
  messageScroller,
  refreshMessages,
  wireMessage,
} from "./gradio_bridge.js";
import { guarded } from "./markdown.js";
import * as models from "./models.js";
import { showToast } from "./notices.js";
import { requestParameters } from "./parameters.js";
import { fetchImages } from "./images.js";
import { dateTime, duration, money, number, t, translated } from "./words.js";

const FRAME = 30; // ms: changes within it are shown together
const AT_END = 40; // px from the end that still count as there
const wireMessages = new WeakMap(); // entry -> what the chatbot gets, the same object while nothing changed

const wireMessageOf = (entry) => {
  // Gradio shows no row for an empty text.
  if (!wireMessages.has(entry)) wireMessages.set(entry, wireMessage(entry.role, guarded(entry.text) || "\u200b"));
  return wireMessages.get(entry);
};
// The chatbot's new value after `refreshMessages`.
export const messagesValue = () => [open.entries.map(wireMessageOf)];

let timer = 0;
let shownWriting = false; // the state that all buttons show: an answer may begin and end within one frame
const update = () => {
  timer ||= setTimeout(() => {
    timer = 0;
    refreshMessages();
    const main = find("#main");
    if (main.classList.toggle("writing", isWriting()) !== shownWriting) {
      shownWriting = isWriting();
      markWaiting(find("#messages"));
    }
    main.classList.toggle("empty", !open.id && !open.entries.length);
    main.classList.toggle("temporary", open.isTemporary || Boolean(open.item?.temporary));
    decorateSoon();
  }, FRAME);
};

let frame = 0;
const decorateSoon = () => {
  frame ||= requestAnimationFrame(() => {
    frame = 0;
    decorate();
  });
};

const decorate = () => {
  const list = messageList();
  if (!list) return;
  cleanMessages();
  const rows = messageRows();
  if (rows.length === open.entries.length)
    open.entries.forEach((entry, i) => rows[i].chatEntry === entry || decorateRow(rows[i], entry));
  const button = find("#earlier", list);
  if (open.earlier && !button) list.prepend(earlierButton());
  else if (!open.earlier) button?.remove();
  scrollToEnd();
};

const earlierButton = () =>
  h(
    "button",
    { type: "button", id: "earlier", class: "link", onclick: keepingPosition(showEarlier) },
    t("Show earlier messages"),
  );

// Gradio reuses rows for other messages, so what was added is replaced when the message has changed.
const decorateRow = (row, entry) => {
  const before = row.chatEntry;
  row.chatEntry = entry;
  const isAnswer = entry.role === "assistant";
  row.dataset.column = entry.column || "";
  row.dataset.id = entry.id;
  row.dataset.role = entry.role;
  row.setAttribute("role", "article");
  const label = isAnswer && models.labelOf(entry.label);
  row.setAttribute("aria-label", isAnswer ? t("Answer of {model}", { model: label }) : t("Your message"));
  const unchanged = before && { ...before, text: entry.text };
  if (unchanged && JSON.stringify(unchanged) === JSON.stringify(entry) && row.querySelector(":scope > footer")) return;
  row.querySelectorAll(":scope > :is(footer, .author, .images, .edit)").forEach((element) => element.remove());
  if (isAnswer) {
    row.prepend(h("div", { class: "author" }, h("bdi", {}, label)));
    row.append(answerFooter(entry));
  } else {
    if (entry.images?.length) row.prepend(imageRow(entry));
    row.append(questionFooter(entry));
  }
  if (shownWriting) markWaiting(row);
};

const imageRow = (entry) =>
  h(
    "div",
    { class: "images" },
    entry.images.map(({ id, width, height }, i) => {
      const address = pathOf(open.id, `/images/${id}`);
      const attributes = { src: address, width, height, loading: "lazy", alt: t("Image {number}", { number: i + 1 }) };
      return h("a", { href: address, target: "_blank", rel: "noopener" }, h("img", attributes));
    }),
  );

const questionFooter = (entry) =>
  h(
    "footer",
    { class: "actions" },
    versions(entry),
    iconButton("edit", t("Edit and resend"), (event) => edit(messageRowOf(event.target), entry)),
    iconButton("copy", t("Copy"), () => copy(entry.text)),
  );

const answerFooter = (entry) => {
  const isColumn = entry.column > 0; // one of two to choose from
  const isLast = entry === open.entries.at(-1);
  return h(
    "footer",
    {},
    h(
      "div",
      { class: `facts ${entry.writing ? "writing" : ""}`, title: dateTime(entry.created) },
      facts(entry).map((fact) => h("span", {}, fact)),
    ),
    notes(entry).map((note) => h("div", { class: "note" }, note)),
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
const markWaiting = (root) =>
  root.querySelectorAll("[data-waits]").forEach((button) => button.setAttribute("aria-disabled", String(shownWriting)));

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

const facts = (entry) => {
  if (entry.writing && entry.queuePosition)
    return [t("In the queue: position {place}", { place: entry.queuePosition })];
  if (entry.writing) return [entry.text ? t("Writing…") : t("Thinking…")];
  const round = (it, digits) => number(Number(it.toFixed(digits)));
  return [
    models.placeName(entry.place),
    entry.tokensIn != null && entry.tokensOut != null
      ? t("Tokens: {in} in, {out} out", { in: entry.tokensIn, out: entry.tokensOut })
      : entry.tokensOut != null && t("{out} tokens", { out: entry.tokensOut }),
    entry.secondsToFirstToken != null &&
      t("first token after {time}", { time: duration(Number(entry.secondsToFirstToken.toFixed(1))) }),
    entry.tokensPerSecond != null &&
      t("{rate} tokens/s", { rate: round(entry.tokensPerSecond, entry.tokensPerSecond < 10 ? 1 : 0) }),
    entry.cost != null && money(entry.cost < 0.01 ? entry.cost.toPrecision(2) : entry.cost.toFixed(2)),
    entry.column && entry.temperature != null && t("temperature {value}", { value: entry.temperature }),
    entry.status === "stopped" && t("stopped"),
  ].filter(Boolean);
};

const notes = (entry) =>
  [
    entry.insteadOf &&
      t("{other} was unavailable, so {model} answered.", {
        other: models.labelOf(entry.insteadOf),
        model: models.labelOf(entry.label),
      }),
    entry.omitted &&
      t(
        "The conversation is longer than this model can read at once, so its beginning was not sent ({number} messages). It is still stored.",
        { number: entry.omitted },
      ),
    entry.finish === "length" && t("The answer stopped at Max tokens. You can continue it."),
    entry.status === "interrupted" &&
      t("The chat restarted while this answer was being written. The text so far is stored; you can continue it."),
    entry.status === "error" && translated(entry.error),
  ].filter(Boolean);

const copy = async (text) => {
  await copyText(text);
  showToast(t("Copied"), { seconds: 2 });
};

// Edit a question in place. Sending it creates another version; the earlier version keeps its answers.
const edit = (row, entry) => {
  if (find(".edit", row)) return;
  const box = h("textarea", {
    dir: "auto",
    "aria-label": t("Your message"),
    rows: Math.min(12, entry.text.split("\n").length + 1),
  });
  box.value = entry.text;
  const close = () => (form.remove(), row.classList.remove("editing"), find("button", row)?.focus());
  const submit = async (event) => {
    event.preventDefault();
    const images = await fetchImages((entry.images || []).map(({ id }) => pathOf(open.id, `/images/${id}`)));
    if (await send({ ...requestParameters(), text: box.value, images }, entry.follows || "")) close();
  };
  const form = h(
    "form",
    { class: "edit", onsubmit: submit },
    box,
    h(
      "div",
      { class: "row" },
      h("button", { type: "button", onclick: close }, t("Cancel")),
      h("button", { type: "submit", class: "primary" }, t("Send")),
    ),
  );
  form.addEventListener("keydown", (event) => {
    if (event.key === "Escape") close();
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) (form.requestSubmit(), event.preventDefault());
  });
  row.classList.add("editing");
  row.append(form);
  box.focus();
};

// Scrolling follows the answer while the reader is at the end.
let isAtEnd = true;
let lastScrollTop = 0;
const scrollToEnd = () => {
  const box = messageScroller();
  if (isAtEnd && box) box.scrollTop = box.scrollHeight;
  find("#to-end")?.classList.toggle("shown", !isAtEnd);
};
const keepingPosition = (action) => async () => {
  const box = messageScroller();
  const fromEnd = box.scrollHeight - box.scrollTop;
  isAtEnd = false;
  await action();
  await new Promise((resolve) => setTimeout(resolve, 2 * FRAME));
  decorate();
  box.scrollTop = box.scrollHeight - fromEnd;
};

// Scroll to a message; load earlier messages until it is there.
export const scrollToMessage = async (id) => {
  for (let tries = 0; tries < 100; tries++) {
    const row = find(`#messages [data-id="${CSS.escape(id)}"]`);
    if (row) {
      isAtEnd = false;
      row.scrollIntoView({ block: "center" });
      row.classList.add("found");
      return;
    }
    if (open.entries.length && !open.entries.some((entry) => entry.id === id)) {
      if (!open.earlier) return; // in another version of the conversation
      await showEarlier();
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
};

export const start = () => {
  onChange((what) => {
    if (what === "opened") isAtEnd = true;
    update();
  });
  const messages = find("#messages");
  new MutationObserver(decorateSoon).observe(messages, { childList: true, subtree: true });
  messages.addEventListener(
    "scroll",
    ({ target }) => {
      if (!isMessageScroller(target)) return;
      // New text below does not stop following the answer; only scrolling up does.
      const isNear = target.scrollHeight - target.scrollTop - target.clientHeight < AT_END;
      if (isNear || target.scrollTop < lastScrollTop) isAtEnd = isNear;
      lastScrollTop = target.scrollTop;
      find("#to-end").classList.toggle("shown", !isAtEnd);
    },
    { capture: true, passive: true },
  );
  const toEnd = iconButton("down", t("Scroll to end"), () => ((isAtEnd = true), scrollToEnd()), { id: "to-end" });
  find("#composer").prepend(toEnd);
  new ResizeObserver(scrollToEnd).observe(messages);
};
