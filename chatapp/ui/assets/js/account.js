// Who one is here: the button at the sidebar's end, and what is offered to whom the chat knows.
import { call, me, onSignedOut, part } from "./api.js";
import { lookAgain, open } from "./conversation.js";
import { find, h, icon } from "./dom.js";
import { keep, kept } from "./kept.js";
import { attempt, stand, tell } from "./notices.js";
import { setProfile } from "./profile.js";
import { go, idInAddress, takeList } from "./sidebar.js";
import { t } from "./words.js";

const NOT_NOW = "leave-behind"; // kept for as long as this tab is open
const WAS_OPEN = "guests-conversation";
const others = new BroadcastChannel("account"); // this browser's other windows

// What is written in the box is kept for this person: "" for a guest, who may turn out to be anybody.
export const owner = () => (me.kind === "anonymous" ? "" : me.address || me.name || me.kind);

export const setMe = (now) => {
  Object.assign(me, now);
  find("#me bdi").textContent = me.name || me.address || (me.kind === "anonymous" ? t("Guest") : "");
  if (me.kind === "google" && !kept("session", NOT_NOW)) offer();
};

// Conversations from before the sign-in are this browser's, until they are taken along.
const offer = async () => {
  const { guestHistory } = await call("GET", "me").catch(() => ({}));
  if (!guestHistory?.conversations) return;
  stand(
    t("Conversations from before you signed in: {number}.", { number: guestHistory.conversations }),
    [t("Move to my account"), () => attempt(takeThemAlong)],
    [t("Not now"), () => keep("session", NOT_NOW, "yes")],
  );
};

export const takeThemAlong = async () => {
  const { conversations, ids = {} } = await call("POST", "take-along", {});
  stand("");
  const now = await call("GET", "state");
  takeList(now.conversations);
  setProfile(now.profile);
  const there = ids[kept("session", WAS_OPEN)]; // they have other ids there
  keep("session", WAS_OPEN, "");
  if (there && !open.id) go(there, { replace: true });
  tell(t("Moved to your account: {number}", { number: conversations }));
};

// Where to sign in, and come back to what is open here. A guest's is not there then, until it is taken along.
export const signInAddress = () => {
  const id = me.kind === "anonymous" ? "" : idInAddress();
  return `sign-in?${new URLSearchParams({ next: id ? `/c/${id}` : "/" })}`;
};

export const rememberOpen = () => keep("session", WAS_OPEN, idInAddress());

// A proxy has no such page of ours: it asks who is there when the page is opened anew.
const signedOut = (signIn) =>
  stand(
    t("You are signed out. Sign in to continue; your text is still in the box."),
    h("a", { class: "link", href: signIn ? signInAddress() : location.href }, t("Sign in")),
  );

// Nothing may be left for the next person at this device: not in the page that Back leads to, not in another window.
export const leave = () => {
  others.postMessage("signed out");
  document.body.replaceChildren();
  location.replace(new URL("sign-in", document.baseURI));
};

export const start = () => {
  find("#belongings").append(
    h(
      "button",
      {
        type: "button",
        id: "me",
        "aria-haspopup": "dialog",
        onclick: () => attempt(async () => (await part("belongings")).open()),
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
