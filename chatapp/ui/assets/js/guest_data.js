// Shows what this browser's guest has, and moves what the person selects. Another site may have made this browser that
// guest, so personas, which instruct every later answer, are selected one by one.
import { call, me } from "./api.js";
import { open as opened } from "./conversation.js";
import { setConversations } from "./conversation_lists.js";
import { find, h, iconButton } from "./dom.js";
import { setLibrary } from "./library.js";
import { openConversation } from "./navigation.js";
import { store, stored } from "./browser_storage.js";
import { showAccountNotice, showToast } from "./notices.js";
import { setProfile } from "./profile.js";
import { dateTime, t } from "./words.js";

const OPEN_CONVERSATION = "guests-conversation"; // also in account.js

const check = (name, checked, ...words) =>
  h("label", { class: "check" }, h("input", { type: "checkbox", name, checked }), h("span", {}, words));

const conversations = (data) => [
  check("conversations", true, t("Conversations: {number}", { number: data.conversationCount })),
  h(
    "ul",
    { tabindex: "0", "aria-label": t("Conversations") },
    data.conversations.map((one) =>
      h("li", {}, h("bdi", {}, one.title), h("time", { class: "quiet" }, dateTime(one.updated))),
    ),
  ),
];

const personas = (data) => [
  h("h3", {}, t("Personas")),
  h("p", { class: "quiet" }, t("Personas instruct the model. Move only those that you wrote.")),
  data.personas.map((one) =>
    h(
      "div",
      {},
      h(
        "label",
        { class: "check" },
        h("input", { type: "checkbox", name: "persona", value: one.id }),
        h("bdi", {}, one.name),
      ),
      h("p", { class: "quiet instructions", dir: "auto", tabindex: "0" }, one.instructions),
    ),
  ),
];

const library = (data) => [
  h("h3", {}, t("Collections and folders")),
  check("library", true, t("Documents in them: {number}", { number: data.documentCount })),
  h(
    "ul",
    { tabindex: "0", "aria-label": t("Collections and folders") },
    [...data.collections, ...data.folders].map((one) => h("li", {}, h("bdi", {}, one.name))),
  ),
];

const settings = (data) => [
  data.parameters && t("Answer settings"),
  data.allowFallback && t("Use another model when the chosen one is unavailable"),
];

const content = (data) => {
  const words = settings(data).filter(Boolean);
  return [
    h(
      "p",
      {},
      me.kind === "anonymous"
        ? t("This browser has these from an earlier visit. Move only what is yours.")
        : t("This browser has these from before you signed in. Move only what is yours."),
    ),
    data.conversationCount > 0 && conversations(data),
    data.personas.length > 0 && personas(data),
    data.collections.length + data.folders.length + data.documentCount > 0 && library(data),
    words.length > 0 && [h("h3", {}, t("Settings")), check("settings", false, words.join(" · "))],
    h("p", { class: "refusal", role: "alert" }),
  ];
};

const isChecked = (dialog, name) => Boolean(find(`input[name=${name}]`, dialog)?.checked);

const move = async (dialog, data) => {
  const moved = await call("POST", "take-along", {
    digest: data.digest,
    conversations: isChecked(dialog, "conversations"),
    personas: [...dialog.querySelectorAll("input[name=persona]:checked")].map(({ value }) => value),
    settings: isChecked(dialog, "settings"),
    library: isChecked(dialog, "library"),
  });
  const now = await call("GET", "state");
  setConversations(now.conversations);
  setProfile(now.profile);
  setLibrary(now.library);
  const movedId = moved.ids[stored("session", OPEN_CONVERSATION)]; // moved conversations get new ids
  store("session", OPEN_CONVERSATION, "");
  if (movedId && !opened.id) openConversation(movedId, { replace: true });
  showToast(t("Moved to your account: {number}", { number: moved.conversations + moved.personas + (moved.library ?? 0) }));
};

const forget = async () => {
  await call("DELETE", "take-along");
  showToast(t("This browser has forgotten them."));
};

export const open = async () => {
  const dialog = h("dialog", { id: "guest-data", "aria-label": t("Move to my account") });
  const show = async () => {
    const data = await call("GET", "take-along");
    // Close the dialog after an action; after an error, show it with what there is now.
    const button = (words, action, properties = {}) =>
      h("button", { type: "button", onclick: () => finish(action), ...properties }, words);
    const finish = async (action) => {
      try {
        await action();
        showAccountNotice("");
        dialog.close();
        find("#settings-panel")?.close();
      } catch (error) {
        if (!error.status && error.status !== 0) throw error;
        if (error.status === 409) await show().catch(() => {});
        find(".refusal", dialog).textContent = error.message;
      }
    };
    dialog.replaceChildren(
      h(
        "header",
        {},
        h("h2", {}, t("Move to my account")),
        iconButton("close", t("Close"), () => dialog.close()),
      ),
      ...content(data).flat(Infinity).filter(Boolean),
      h(
        "div",
        { class: "row" },
        button(t("These are not mine"), forget),
        button(t("Move to my account"), () => move(dialog, data), { class: "primary" }),
      ),
    );
  };
  await show();
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
};
