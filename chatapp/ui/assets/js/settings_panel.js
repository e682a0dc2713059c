// The panel "Settings and data": the account, the settings, and how to download or delete everything.
import { guestSummary, leavePage, rememberOpen, showGuestData, signInAddress } from "./account.js";
import { call } from "./api.js";
import { confirmed, find, h, icon, iconButton } from "./dom.js";
import { setLanguageCookie, store, stored } from "./browser_storage.js";
import { download } from "./downloads.js";
import * as enterKey from "./enter_key.js";
import { importSection } from "./imports.js";
import { shortcuts as allShortcuts } from "./shortcuts.js";
import * as notifying from "./notifying.js";
import { change, profile } from "./profile.js";
import { shareSetting } from "./share_setting.js";
import { shareList } from "./sharing.js";
import { dateTime, fileSize, language, LANGUAGES, t } from "./words.js";

const KINDS = {
  local: t("You are the only user, so no sign-in is needed."),
  anonymous: t("You are a guest. A cookie ties your conversations to this browser."),
  google: t("You are signed in. Your conversations are on all your devices."),
  iap: t("You are signed in. Your conversations are on all your devices."),
};
const STORES = {
  sqlite: t("Your conversations are stored on this chat's server."),
  firestore: t("Your conversations are stored in Google Firestore, in the operator's project."),
};
// For the only user, who is the operator.
const LOCAL_STORES = {
  sqlite: t("Your conversations are stored in a file on this computer."),
  firestore: t("Your conversations are stored in Google Firestore, in your project."),
};

// Run an action, and show its error in the panel, which covers the page.
const attempt = async (action) => {
  const refusal = find("#settings-panel .refusal");
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

const user = (me) =>
  h(
    "section",
    { class: "account" },
    icon("person"),
    h(
      "div",
      {},
      me.name && h("b", {}, h("bdi", {}, me.name)),
      me.address && h("div", {}, h("bdi", {}, me.address)),
      h("p", { class: "quiet" }, KINDS[me.kind]),
      me.canSignIn && h("p", { class: "quiet" }, t("Sign in to see them on all your devices.")),
    ),
  );

const account = (me) => {
  const away = me.signOutUrl;
  return [
    me.canSignIn && h("a", { class: "button primary", href: signInAddress(), onclick: rememberOpen }, t("Sign in")),
    me.guestHistory &&
      h(
        "p",
        {},
        guestSummary(me.guestHistory),
        " ",
        button(t("Move to my account"), showGuestData, { class: "link" }),
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
    me.canSignOut && !away && devices(),
  ];
};

// Where the user is signed in. Loaded when it is opened.
const devices = () => {
  const items = h("ul", {});
  const show = async () => {
    const { signIns } = await call("GET", "sign-ins");
    items.replaceChildren(...signIns.map(device), ...(signIns.length > 1 ? [others()] : []));
  };
  const device = (one) =>
    h(
      "li",
      {},
      h(
        "div",
        {},
        h("bdi", {}, one.device || t("Unknown browser")),
        h(
          "span",
          { class: "quiet" },
          one.isCurrent ? t("This browser") : t("Last used: {time}", { time: dateTime(one.seen) }),
        ),
      ),
      !one.isCurrent &&
        button(t("Sign out"), async () => {
          await call("DELETE", `sign-ins/${encodeURIComponent(one.id)}`);
          await show();
        }),
    );
  const others = () =>
    h(
      "li",
      {},
      button(t("Sign out all others"), async () => {
        await call("POST", "sign-out-elsewhere", {});
        await show();
      }),
    );
  const panel = h("details", { id: "devices" }, h("summary", {}, t("Where you are signed in")), items);
  panel.addEventListener("toggle", () => panel.open && attempt(show));
  return panel;
};

const signOutEverywhere = async () => {
  if (await confirmed(t("Sign out on all your devices, including this one?"), t("Sign out everywhere"), t("Cancel")))
    await signOut("sign-out-everywhere");
};

const signOut = async (path) => {
  await call("POST", path, {});
  leavePage();
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

const setLanguage = (chosen) => {
  store("local", "language", chosen);
  setLanguageCookie(chosen);
  location.reload();
};

const settings = () =>
  section(
    t("Settings"),
    chooser(t("Language"), LANGUAGES, language, setLanguage),
    chooser(
      t("Appearance"),
      { "": t("System"), light: t("Light"), dark: t("Dark") },
      stored("local", "appearance"),
      (value) => (store("local", "appearance", value), location.reload()),
    ),
    chooser(
      t("Enter key"),
      { "": t("Automatic"), send: t("Sends the message"), line: t("Makes a new line") },
      stored("local", enterKey.SETTING),
      (value) => (store("local", enterKey.SETTING, value), enterKey.updateHint()),
    ),
    h(
      "label",
      { class: "check" },
      h("input", {
        type: "checkbox",
        checked: profile.allowFallback,
        onchange: ({ target: { checked } }) => change(() => ({ allowFallback: checked })),
      }),
      h("span", {}, t("Use another model when the chosen one is unavailable")),
    ),
    notifications(),
  );

// Asks the browser for its permission only when it is turned on.
const notifications = () => {
  const box = h("input", { type: "checkbox", checked: notifying.isOn() });
  box.addEventListener("change", () =>
    attempt(async () => {
      const problem = await notifying.turn(box.checked);
      if (problem) box.checked = false;
      if (problem) throw new Error(problem);
    }),
  );
  return h("label", { class: "check" }, box, h("span", {}, t("Notify me when an answer ends while this tab is hidden")));
};

const storageWords = ({ used, limit }) =>
  limit
    ? t("Storage used: {used} of {limit}.", { used: fileSize(used), limit: fileSize(limit) })
    : t("Storage used: {used}.", { used: fileSize(used) });

const data = (me) =>
  section(
    t("Your data"),
    h(
      "p",
      { class: "quiet" },
      [
        (me.kind === "local" ? LOCAL_STORES : STORES)[me.store],
        me.retentionDays
          ? t("Older messages are deleted automatically; kept for (days): {days}.", { days: me.retentionDays })
          : t("They are kept until you delete them; temporary chats are never stored."),
      ].join(" "),
    ),
    me.storage && h("p", { class: "quiet" }, storageWords(me.storage)),
    button(t("Download all conversations (Markdown)"), () => download("export/everything.md.zip"), { class: "link" }),
    button(t("Download all data (JSON)"), () => download("export/everything.json"), { class: "link" }),
    button(t("Delete everything"), deleteEverything, { class: "danger" }),
  );

// One's links to copies of conversations. Loaded when it is opened.
const sharedLinks = () => {
  const { items, show } = shareList(attempt);
  const panel = h("details", { id: "shared-links" }, h("summary", {}, t("Links to copies of conversations")), items);
  panel.addEventListener("toggle", () => panel.open && attempt(show));
  return panel;
};

const deleteEverything = async () => {
  const { signInAgainUrl } = await call("GET", "me");
  if (signInAgainUrl) {
    const question = t("Before you delete everything, sign in again. Then open this panel once more.");
    if (await confirmed(question, t("Sign in again"), t("Cancel"))) location.assign(signInAgainUrl);
    return;
  }
  const question = t(
    "Permanently delete all your conversations, collections, folders, personas and settings? This cannot be undone.",
  );
  if (!(await confirmed(question, t("Delete everything"), t("Cancel")))) return;
  await call("POST", "delete-everything", { confirm: true });
  location.replace(new URL("./", document.baseURI));
};

const shortcuts = () => {
  const listed = h("dl");
  // As the Enter key is set when they are opened.
  const fill = () =>
    listed.replaceChildren(
      ...allShortcuts().flatMap(([keys, words]) => [h("dt", {}, h("kbd", {}, keys)), h("dd", {}, words)]),
    );
  return h("details", { ontoggle: fill }, h("summary", {}, t("Keyboard shortcuts")), listed);
};

export const open = async () => {
  const me = await call("GET", "me");
  const panel = h("dialog", { id: "settings-panel", "aria-label": t("Settings and data") });
  panel.append(
    h(
      "header",
      {},
      h("h2", {}, t("Settings and data")),
      iconButton("close", t("Close"), () => panel.close()),
    ),
    h("p", { class: "refusal", role: "alert" }),
    user(me),
    ...account(me).filter(Boolean),
    settings(),
    ...(me.importBytes ? [importSection(me.importBytes)] : []),
    data(me),
    ...(shareSetting.who === "off" ? [] : [sharedLinks()]),
    shortcuts(),
  );
  panel.addEventListener("close", () => panel.remove());
  document.body.append(panel);
  panel.showModal();
};
