// The account: the button at the end of the sidebar, signing in and out, and moving a guest's conversations.
import { call, me, onSignedOut, part } from "./api.js";
import { lookAgain, open } from "./conversation.js";
import { find, h, icon } from "./dom.js";
import { store, stored } from "./browser_storage.js";
import { attempt, stand, tell } from "./notices.js";
import { setProfile } from "./profile.js";
import { go, idInAddress, takeList } from "./sidebar.js";
import { t } from "./words.js";

const NOT_NOW = "leave-behind"; // until this tab is closed
const WAS_OPEN = "guests-conversation";
const others = new BroadcastChannel("account"); // this browser's other windows

// Whose draft the text in the message box is; "" for a guest, whose account is not known yet.
export const owner = () => (me.kind === "anonymous" ? "" : me.address || me.name || me.kind);

export const setMe = (now) => {
  Object.assign(me, now);
  find("#me bdi").textContent = me.name || me.address || (me.kind === "anonymous" ? t("Guest") : "");
  if (me.kind === "google" && !stored("session", NOT_NOW)) offer();
};

// Offer to move the conversations that this browser wrote as a guest.
const offer = async () => {
  const { guestHistory } = await call("GET", "me").catch(() => ({}));
  if (!guestHistory?.conversations) return;
  stand(
    t("Conversations from before you signed in: {number}.", { number: guestHistory.conversations }),
    [t("Move to my account"), () => attempt(moveGuestConversations)],
    [t("Not now"), () => store("session", NOT_NOW, "yes")],
  );
};

export const moveGuestConversations = async () => {
  const { conversations, ids = {} } = await call("POST", "take-along", {});
  stand("");
  const now = await call("GET", "state");
  takeList(now.conversations);
  setProfile(now.profile);
  const there = ids[stored("session", WAS_OPEN)]; // moved conversations get new ids
  store("session", WAS_OPEN, "");
  if (there && !open.id) go(there, { replace: true });
  tell(t("Moved to your account: {number}", { number: conversations }));
};

// Where to sign in, with the way back to the open conversation. A guest's conversation has to be moved first.
export const signInAddress = () => {
  const id = me.kind === "anonymous" ? "" : idInAddress();
  return `sign-in?${new URLSearchParams({ next: id ? `/c/${id}` : "/" })}`;
};

export const rememberOpen = () => store("session", WAS_OPEN, idInAddress());

// A proxy that signs people in does so when the page is loaded again.
const signedOut = (signIn) =>
  stand(
    t("You are signed out. Sign in to continue; your text is still in the box."),
    h("a", { class: "link", href: signIn ? signInAddress() : location.href }, t("Sign in")),
  );

// Leave nothing for the next person at this device: neither in the page that Back leads to, nor in another window.
export const leave = () => {
  others.postMessage("signed out");
  document.body.replaceChildren();
  location.replace(new URL("sign-in", document.baseURI));
};

export const start = () => {
  find("#account").append(
    h(
      "button",
      {
        type: "button",
        id: "me",
        "aria-haspopup": "dialog",
        onclick: () => attempt(async () => (await part("settings_panel")).open()),
      },
      icon("person"),
      h("span", {}, h("b", {}, h("bdi")), h("span", {}, t("Settings and data"))),
    ),
  );
  onSignedOut((isOut, signIn) => {
    document.body.classList.toggle("signed-out", isOut);
    if (isOut) return signedOut(signIn);
    stand("");
    lookAgain();
  });
  others.onmessage = () => location.reload();
};
