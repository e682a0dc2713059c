// The panel of what is one's own: who one is, what is kept and where, and how to take it along or be rid of it.
import { leave, rememberOpen, signInAddress, takeThemAlong } from "./account.js";
import { call } from "./api.js";
import { ask, find, h, icon, iconButton } from "./dom.js";
import { keep, kept } from "./kept.js";
import { SHORTCUTS } from "./keys.js";
import { change, profile } from "./profile.js";
import { language, LANGUAGES, t } from "./words.js";

const KINDS = {
  local: t("You are the only person here, so nobody has to sign in."),
  anonymous: t("You are a guest: this browser alone finds your conversations again, by a cookie."),
  google: t("You are signed in, and find your conversations on every device."),
  iap: t("You are signed in, and find your conversations on every device."),
};
const STORES = {
  local: t("Everything is on this computer: your conversations are kept in one file, and in no cloud."),
  sqlite: t("Your conversations are kept on the server of whoever runs this chat."),
  firestore: t("Your conversations are kept in Google Firestore, in the project of whoever runs this chat."),
};

// Do it; a refusal is said in the panel, which covers the page.
const attempt = async (action) => {
  const refusal = find("#belongings-panel .refusal");
  refusal.replaceChildren();
  try {
    await action();
  } catch (error) {
    refusal.textContent = error.message;
  }
};

const section = (heading, ...content) => h("section", {}, h("h3", {}, heading), content);

const button = (words, action, properties = {}) =>
  h("button", { type: "button", onclick: () => attempt(action), ...properties }, words);

const who = (me) =>
  h(
    "section",
    { class: "who-am-i" },
    icon("person"),
    h(
      "div",
      {},
      me.name && h("b", {}, h("bdi", {}, me.name)),
      me.address && h("div", {}, h("bdi", {}, me.address)),
      h("p", { class: "quiet" }, KINDS[me.kind]),
      me.canSignIn && h("p", { class: "quiet" }, t("Sign in to find them on every device.")),
    ),
  );

const account = (me) => {
  const away = me.signOutUrl;
  return [
    me.canSignIn && h("a", { class: "button primary", href: signInAddress(), onclick: rememberOpen }, t("Sign in")),
    me.takeAlong?.conversations > 0 &&
      h(
        "p",
        {},
        t("Conversations that you wrote here before you signed in: {number}.", {
          number: me.takeAlong.conversations,
        }),
        " ",
        button(t("Take them along"), async () => (await takeThemAlong(), find("#belongings-panel").close()), {
          class: "link",
        }),
      ),
    me.canSignOut &&
      h(
        "div",
        { class: "row" },
        away
          ? h("a", { class: "button", href: away }, t("Sign out"))
          : button(t("Sign out"), () => signOut("sign-out")),
        !away && button(t("Sign out everywhere"), signOutEverywhere),
      ),
  ];
};

const signOutEverywhere = async () => {
  if (await ask(t("Sign out on all your devices, this one too?"), t("Sign out everywhere"), t("Cancel")))
    await signOut("sign-out-everywhere");
};

const signOut = async (path) => {
  await call("POST", path, {});
  leave();
};

const chooser = (label, choices, chosen, onchoice) =>
  h(
    "label",
    {},
    h("span", {}, label),
    h(
      "select",
      { onchange: (event) => onchoice(event.target.value) },
      Object.entries(choices).map(([value, words]) => h("option", { value, selected: value === chosen }, words)),
    ),
  );

// By the cookie the sign-in page speaks it too.
const setLanguage = (chosen) => {
  keep("local", "language", chosen);
  document.cookie = `language=${chosen}; Path=/; Max-Age=31536000; SameSite=Lax${location.protocol === "https:" ? "; Secure" : ""}`;
  location.reload();
};

const settings = () =>
  section(
    t("Settings"),
    chooser(t("Language"), LANGUAGES, language, setLanguage),
    chooser(
      t("Appearance"),
      { "": t("As the system"), light: t("Light"), dark: t("Dark") },
      kept("local", "appearance"),
      (value) => (keep("local", "appearance", value), location.reload()),
    ),
    h(
      "label",
      { class: "check" },
      h("input", {
        type: "checkbox",
        checked: profile.answerWithOther,
        onchange: (event) => change({ answerWithOther: event.target.checked }),
      }),
      h("span", {}, t("Let another model answer while the chosen one is not ready")),
    ),
  );

const yours = (me) =>
  section(
    t("Your data"),
    h(
      "p",
      { class: "quiet" },
      [
        STORES[me.kind === "local" && me.store === "sqlite" ? "local" : me.store],
        me.retentionDays
          ? t("What is older than {days} days is deleted by itself.", { days: me.retentionDays })
          : t("They stay until you delete them; temporary chats are never stored."),
      ].join(" "),
    ),
    h("a", { href: "export/everything.md.zip", download: true }, t("Download all conversations to read")),
    h("a", { href: "export/everything.json", download: true }, t("Download everything, complete")),
    button(t("Delete everything"), deleteEverything, { class: "danger" }),
  );

// Everything of this person; the answer says how many conversations that were, or why not all are gone.
const deleteEverything = async () => {
  const question = t("Delete all your conversations, personas and settings for good? This cannot be undone.");
  if (!(await ask(question, t("Delete everything"), t("Cancel")))) return;
  await call("POST", "delete-everything", { confirm: true });
  location.replace(new URL("./", document.baseURI));
};

const keys = () =>
  h(
    "details",
    {},
    h("summary", {}, t("Keys")),
    h(
      "dl",
      {},
      SHORTCUTS.map(([keys, words]) => [h("dt", {}, h("kbd", {}, keys)), h("dd", {}, words)]),
    ),
  );

export const open = async () => {
  const me = await call("GET", "me");
  const panel = h("dialog", { id: "belongings-panel", "aria-label": t("Settings and your data") });
  panel.append(
    h(
      "header",
      {},
      h("h2", {}, t("Settings and your data")),
      iconButton("close", t("Close"), () => panel.close()),
    ),
    h("p", { class: "refusal", role: "alert", dir: "auto" }),
    who(me),
    ...account(me).filter(Boolean),
    settings(),
    yours(me),
    keys(),
  );
  panel.addEventListener("close", () => panel.remove());
  document.body.append(panel);
  panel.showModal();
};
