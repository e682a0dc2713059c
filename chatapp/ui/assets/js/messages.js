// What surrounds each message: its author, facts about how it was written, and its buttons. Gradio's chatbot renders the
// texts; this module adds the rest to the rows of the chatbot.
import { pathOf } from "./api.js";
import { answerAgain, choose, goOn, isWriting, onChange, open, rate, send, showEarlier } from "./conversation.js";
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
import { tell } from "./notices.js";
import { requested } from "./parameters.js";
import { fetched } from "./images.js";
import { duration, moment, money, number, said, t } from "./words.js";

const FRAME = 30; // ms: changes within it are shown together
const AT_END = 40; // px from the end that still count as there
const wired = new WeakMap(); // entry -> what the chatbot gets, the same object while nothing changed

const toWire = (entry) => {
  if (!wired.has(entry)) wired.set(entry, wireMessage(entry.role, guarded(entry.text) || "\u200b")); // never an empty row
  return wired.get(entry);
};
// What the chatbot shows, when `refreshMessages` makes it ask.
export const shown = () => [open.entries.map(toWire)];

let timer = 0;
let shownWriting = false; // what the buttons show, all of them: an answer may begin and end within one frame
const show = () => {
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
    soon();
  }, FRAME);
};

let frame = 0;
const soon = () => {
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
    open.entries.forEach((entry, i) => rows[i].chatEntry === entry || dress(rows[i], entry));
  const button = find("#earlier", list);
  if (open.earlier && !button) list.prepend(earlierButton());
  else if (!open.earlier) button?.remove();
  keepAtEnd();
};

const earlierButton = () =>
  h(
    "button",
    { type: "button", id: "earlier", class: "link", onclick: keepPlace(showEarlier) },
    t("Show earlier messages"),
  );

// Gradio reuses rows for other messages, so what was added is replaced when the message has changed.
const dress = (row, entry) => {
  const before = row.chatEntry;
  row.chatEntry = entry;
  const isAnswer = entry.role === "assistant";
  row.dataset.column = entry.column || "";
  row.dataset.id = entry.id;
  row.dataset.role = entry.role;
  row.setAttribute("role", "article");
  row.setAttribute("aria-label", isAnswer ? t("Answer of {model}", { model: entry.label }) : t("Your message"));
  const unchanged = before && { ...before, text: entry.text };
  if (unchanged && JSON.stringify(unchanged) === JSON.stringify(entry) && row.querySelector(":scope > footer")) return;
  row.querySelectorAll(":scope > :is(footer, .who, .pictures, .edit)").forEach((element) => element.remove());
  if (isAnswer) {
    row.prepend(h("div", { class: "who" }, h("bdi", {}, entry.label)));
    row.append(answerFooter(entry));
  } else {
    if (entry.images?.length) row.prepend(pictures(entry));
    row.append(questionFooter(entry));
  }
  if (shownWriting) markWaiting(row);
};

const pictures = (entry) =>
  h(
    "div",
    { class: "pictures" },
    entry.images.map(({ id, width, height }, i) => {
      const address = pathOf(open.id, `/images/${id}`);
      const picture = { src: address, width, height, loading: "lazy", alt: t("Image {number}", { number: i + 1 }) };
      return h("a", { href: address, target: "_blank", rel: "noopener" }, h("img", picture));
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
      { class: `facts ${entry.writing ? "writing" : ""}`, title: moment(entry.created) },
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
            { type: "button", class: "keep", onclick: () => choose(entry.id) },
            icon("check"),
            t("Choose this answer"),
          ),
        isLast &&
          entry.canContinue &&
          !isColumn &&
          h("button", { type: "button", class: "go-on", onclick: () => goOn(requested()) }, t("Continue")),
        isLast && entry.status === "error" && otherModel(entry),
        iconButton("copy", t("Copy"), () => copy(entry.text)),
        !isColumn &&
          iconButton(
            "again",
            t("Regenerate"),
            waiting(() => answerAgain(entry.follows, requested())),
            { "data-waits": true },
          ),
        thumb(entry, "up", "thumbUp", t("Good answer")),
        thumb(entry, "down", "thumbDown", t("Bad answer")),
      ),
  );
};

const otherModel = (entry) => {
  const other = models.readyOther(entry.model);
  if (!other) return null;
  const again = () => answerAgain(entry.follows, { ...requested(), model: other.id });
  return h(
    "button",
    { type: "button", class: "go-on", onclick: again },
    t("Answer with {model}", { model: other.label }),
  );
};

// What the chat refuses while it writes: such a button says so itself, and is still there for who looks for it.
const waiting = (action) => () =>
  isWriting() ? tell(t("An answer is being written. Wait until it is finished, or stop it first.")) : action();
const markWaiting = (root) =>
  root.querySelectorAll("[data-waits]").forEach((button) => button.setAttribute("aria-disabled", String(shownWriting)));

const thumb = (entry, feedback, picture, label) => {
  const isGiven = entry.feedback === feedback;
  return iconButton(
    picture,
    label,
    waiting(() => rate(entry.id, isGiven ? "" : feedback)),
    { "aria-pressed": String(isGiven), "data-waits": true },
  );
};

const versions = (entry) => {
  const all = entry.versions || [];
  if (all.length < 2 || entry.column) return null;
  const at = all.indexOf(entry.id);
  const step = (to, picture, label) =>
    iconButton(
      picture,
      label,
      waiting(() => choose(all[to])),
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
  if (entry.writing && entry.queuePosition) return [t("In the queue: position {place}", { place: entry.queuePosition })];
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
    entry.insteadOf && t("{other} was unavailable, so {model} answered.", { other: entry.insteadOf, model: entry.label }),
    entry.omitted &&
      t(
        "The conversation is longer than this model can read at once, so its beginning was not sent ({number} messages). It is still stored.",
        { number: entry.omitted },
      ),
    entry.finish === "length" && t("The answer stopped at Max tokens. You can continue it."),
    entry.status === "interrupted" &&
      t("The chat restarted while this answer was being written. The text so far is stored; you can continue it."),
    entry.status === "error" && said(entry.error),
  ].filter(Boolean);

const copy = async (text) => {
  await copyText(text);
  tell(t("Copied"), { seconds: 2 });
};

// Edit a question where it stands; sent, it is another version, and what followed the earlier one is still there.
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
    const images = await fetched((entry.images || []).map(({ id }) => pathOf(open.id, `/images/${id}`)));
    if (await send({ ...requested(), text: box.value, images }, entry.follows || "")) close();
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

// Scrolling: with the answer while the reader is at its end, and not otherwise.
let isAtEnd = true;
let top = 0;
const keepAtEnd = () => {
  const box = messageScroller();
  if (isAtEnd && box) box.scrollTop = box.scrollHeight;
  find("#to-end")?.classList.toggle("shown", !isAtEnd);
};
const keepPlace = (action) => async () => {
  const box = messageScroller();
  const fromEnd = box.scrollHeight - box.scrollTop;
  isAtEnd = false;
  await action();
  await new Promise((resolve) => setTimeout(resolve, 2 * FRAME));
  decorate();
  box.scrollTop = box.scrollHeight - fromEnd;
};

// Bring a message into view, loading what is before it if need be.
export const goTo = async (id) => {
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
    show();
  });
  const messages = find("#messages");
  new MutationObserver(soon).observe(messages, { childList: true, subtree: true });
  messages.addEventListener(
    "scroll",
    ({ target }) => {
      if (!isMessageScroller(target)) return;
      // What was added below since the last look is no reason to stay behind; only who goes up leaves the end.
      const isNear = target.scrollHeight - target.scrollTop - target.clientHeight < AT_END;
      if (isNear || target.scrollTop < top) isAtEnd = isNear;
      top = target.scrollTop;
      find("#to-end").classList.toggle("shown", !isAtEnd);
    },
    { capture: true, passive: true },
  );
  const toEnd = iconButton("down", t("Scroll to end"), () => ((isAtEnd = true), keepAtEnd()), { id: "to-end" });
  find("#composer").prepend(toEnd);
  new ResizeObserver(keepAtEnd).observe(messages);
};
