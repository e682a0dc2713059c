// The account: the button at the end of the sidebar, signing in and out, and moving a guest's conversations.
import { call, loadModule, me, onSignedOut } from "./api.js";
import { refresh } from "./conversation.js";
import { find, h, icon } from "./dom.js";
import { idInAddress } from "./navigation.js";
import { setLanguageCookie, store, stored } from "./browser_storage.js";
import { attempt, showAccountNotice } from "./notices.js";
import { channel } from "./windows.js";
import { t } from "./words.js";

const DISMISSED = "leave-behind"; // until this tab is closed
const OPEN_CONVERSATION = "guests-conversation"; // also in guest_data.js
const tellOtherWindows = channel("account", () => location.reload());

// The owner of the draft in the message box; "" for a guest, who may sign in with any account.
export const owner = () => (me.kind === "anonymous" ? "" : me.address || me.name || me.kind);

export const setMe = (now) => {
  Object.assign(me, now);
  find("#me bdi").textContent = me.name || me.address || (me.kind === "anonymous" ? t("Guest") : "");
  if (me.kind === "anonymous" && !navigator.cookieEnabled)
    showAccountNotice(
      t(
        "This browser blocks cookies, so the chat cannot tell which conversations are yours. Allow cookies for this site.",
      ),
    );
  // Until November 2026 a guest's cookie had another name over HTTPS: such a guest has to move, too.
  const mayHaveMore = me.kind === "google" || (me.kind === "anonymous" && location.protocol === "https:");
  if (mayHaveMore && !stored("session", DISMISSED)) offerMove();
};

// Offer to move the conversations that this browser wrote as a guest, after showing them.
const offerMove = async () => {
  const { guestHistory } = await call("GET", "me").catch(() => ({}));
  if (!guestHistory) return;
  showAccountNotice(
    guestSummary(guestHistory),
    [t("Move to my account"), () => attempt(showGuestData)],
    [t("Not now"), () => store("session", DISMISSED, "yes")],
  );
};

export const guestSummary = ({ conversations, personas, library }) => {
  if (!conversations && !personas)
    return t("Collections and folders from an earlier visit: {number}.", { number: library });
  if (!conversations) return t("Personas from an earlier visit: {number}.", { number: personas });
  return me.kind === "anonymous"
    ? t("Conversations from an earlier visit: {number}.", { number: conversations })
    : t("Conversations from before you signed in: {number}.", { number: conversations });
};

export const showGuestData = async () => (await loadModule("guest_data")).open();

// Where to sign in, with the way back to the open conversation. A guest's conversation has to be moved first.
export const signInAddress = () => {
  const id = me.kind === "anonymous" ? "" : idInAddress();
  return `sign-in?${new URLSearchParams({ next: id ? `/c/${id}` : "/" })}`;
};

export const rememberOpen = () => store("session", OPEN_CONVERSATION, idInAddress());

// A proxy that signs people in does so when the page is loaded again.
const signedOut = (signIn) =>
  showAccountNotice(
    t("You are signed out. Sign in to continue; your text is still in the box."),
    h("a", { class: "link", href: signIn ? signInAddress() : location.href }, t("Sign in")),
  );

// Remove everything the next person at this device could read: from the page that Back shows, and from other windows.
export const leavePage = () => {
  tellOtherWindows("signed out");
  document.body.replaceChildren();
  location.replace(new URL("sign-in?signed-out=1", document.baseURI));
};

export const start = () => {
  if (stored("local", "language")) setLanguageCookie(stored("local", "language")); // an older page named it otherwise
  find("#account").append(
    h(
      "button",
      {
        type: "button",
        id: "me",
        "aria-haspopup": "dialog",
        onclick: () => attempt(async () => (await loadModule("settings_panel")).open()),
      },
      icon("person"),
      h("span", {}, h("b", {}, h("bdi")), h("span", {}, t("Settings and data"))),
    ),
  );
  onSignedOut((isOut, signIn) => {
    document.body.classList.toggle("signed-out", isOut);
    if (isOut) return signedOut(signIn);
    showAccountNotice("");
    refresh();
  });
};
