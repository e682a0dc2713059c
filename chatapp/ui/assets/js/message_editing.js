// Edits a question in place. Sending it creates another version; the earlier version keeps its answers.
import { open, send } from "./conversation.js";
import { find, h } from "./dom.js";
import { enterSends } from "./enter_key.js";
import { requestParameters } from "./parameters.js";
import { t } from "./words.js";

const forms = new Map(); // message -> its form and where it belongs, until it is sent or cancelled

export const edit = (row, entry) => {
  const opened = forms.get(entry.id);
  if (opened) return find("textarea", opened.form).focus();
  const box = h("textarea", {
    dir: "auto",
    "aria-label": t("Your message"),
    rows: Math.min(12, entry.text.split("\n").length + 1),
  });
  box.value = entry.text;
  const close = () => {
    const shownIn = form.parentElement;
    forms.delete(entry.id);
    form.remove();
    shownIn?.classList.remove("editing");
    if (shownIn) find("button", shownIn)?.focus();
  };
  let isSending = false; // Enter may be pressed twice
  const submit = async (event) => {
    event.preventDefault();
    if (isSending) return;
    isSending = true;
    try {
      const [images, documents] = [entry.images, entry.documents].map((files) => files?.map(({ id }) => ({ id })));
      const files = { images: images || [], ...(documents?.length && { documents }) };
      if (await send({ ...requestParameters(), text: box.value, ...files }, entry.follows || "")) close();
    } finally {
      isSending = false;
    }
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
    if (event.key === "Escape") (close(), event.preventDefault());
    if (event.key === "Enter" && event.target === box && enterSends(event))
      (form.requestSubmit(), event.preventDefault());
  });
  const place = { form, conversation: open.id, follows: entry.follows || "", isActive: false };
  // (An element that is taken out of the page loses the focus too.)
  const leave = () => (place.isActive = !form.isConnected || form.contains(document.activeElement));
  form.addEventListener("focusin", () => (place.isActive = true));
  form.addEventListener("focusout", () => setTimeout(leave));
  forms.set(entry.id, place);
  row.classList.add("editing");
  row.append(form);
  box.focus();
};

// Put each form into the row of its message. Gradio reuses rows for other messages, and removes them, when messages are
// added above or another version is shown.
export const placeForms = (rows, entries) => {
  const used = new Set();
  for (const [id, { form, conversation, follows, isActive }] of forms) {
    const isVersion = (entry) => entry.role === "user" && (entry.follows || "") === follows;
    const byId = entries.findIndex((entry) => entry.id === id);
    const row = conversation === open.id && rows[byId < 0 ? entries.findIndex(isVersion) : byId];
    if (!row || used.has(row)) {
      form.remove(); // until its message is shown again
      continue;
    }
    used.add(row);
    if (form.parentElement === row) continue;
    row.append(form);
    if (isActive) find("textarea", form).focus({ preventScroll: true });
  }
  for (const row of rows) row.classList.toggle("editing", used.has(row));
};
