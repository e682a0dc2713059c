// Puts the parts together once Gradio's are there, and gives Gradio's events what they call.
import { call } from "./api.js";
import * as account from "./account.js";
import { write, written } from "./box.js";
import * as conversation from "./conversation.js";
import * as direction from "./direction.js";
import { find, h } from "./dom.js";
import * as experiment from "./experiment.js";
import { keep, kept } from "./kept.js";
import * as keys from "./keys.js";
import * as messages from "./messages.js";
import * as models from "./models.js";
import * as notices from "./notices.js";
import * as parameters from "./parameters.js";
import * as personas from "./personas.js";
import * as pictures from "./pictures.js";
import { setProfile } from "./profile.js";
import * as sidebar from "./sidebar.js";
import * as welcome from "./welcome.js";
import { t } from "./words.js";

const DRAFT = "draft";
const PAUSE = 2000; // ms between tries to reach a chat that is away

// Everything that the page shows at first, in one request; again and again while the chat cannot be reached.
const state = async () => {
  const id = sidebar.idInAddress();
  for (let failures = 0; ; failures++) {
    try {
      const now = await call("GET", `state?conversation=${encodeURIComponent(id)}`);
      if (failures) notices.say("");
      return now;
    } catch (error) {
      notices.say(error.message);
      if (error.status === 401) await new Promise(() => {}); // its notice leads away from here
      await new Promise((resolve) => setTimeout(resolve, PAUSE));
    }
  }
};

// What stands in the box is kept for whoever wrote it, and from a guest for whoever signs in then.
const keepDraft = () => {
  const text = written();
  // (A page that is left before it was ready has shown no draft.)
  if (text || document.body.classList.contains("ready"))
    keep("session", DRAFT, text && JSON.stringify({ text, owner: account.owner() }));
};
const draft = () => {
  try {
    const { text, owner } = JSON.parse(kept("session", DRAFT));
    return !owner || owner === account.owner() ? text : "";
  } catch {
    return ""; // none is kept
  }
};

const load = async (temperature, top_p, max_tokens) => {
  parameters.setDefaults({ temperature, top_p, max_tokens });
  direction.start();
  find("#messages [role=log]")?.setAttribute("aria-label", t("Messages"));
  notices.start();
  find("#tools").append(h("div", { class: "chat-tools" }));
  messages.start();
  models.start();
  personas.start();
  parameters.start();
  experiment.start();
  pictures.start();
  welcome.start();
  sidebar.start();
  account.start();
  keys.start();
  const id = sidebar.idInAddress();
  conversation.show(id);
  const now = await state();
  models.setModels(now);
  setProfile(now.profile);
  account.setMe(now.me);
  if (draft() && !written()) write(draft());
  sidebar.takeList(now.conversations);
  pictures.setLimits(now.limits);
  document.body.classList.add("ready");
};

let onItsWay = null; // what is being sent, and not known to be taken yet: Enter may be pressed twice
const send = async (text, temperature, top_p, max_tokens, system_prompt) => {
  parameters.parametersChanged(temperature, top_p, max_tokens);
  parameters.instructionsChanged(system_prompt);
  if (onItsWay !== null) {
    if (text !== onItsWay) notices.say(t("An answer is being written. Wait until it is finished, or stop it first."));
    return;
  }
  const problem = conversation.open.entries.some((entry) => entry.column && !entry.writing)
    ? t("Choose one of the two answers first. The other one stays available as a version.")
    : pictures.problem();
  if (problem) return notices.say(problem);
  onItsWay = text;
  try {
    if (!(await conversation.send({ ...parameters.asked(), text, images: pictures.taken() }))) return;
  } finally {
    onItsWay = null;
  }
  pictures.clear();
  // Until then it stood in the box, and more may be there by now.
  if (written().startsWith(text)) write(written().slice(text.length).trimStart());
};

window.chatIsThere({
  load,
  send,
  shown: messages.shown,
  filled: parameters.filled,
  parametersChanged: parameters.parametersChanged,
  instructionsChanged: parameters.instructionsChanged,
  resetParameters: parameters.resetParameters,
  startNew: () => sidebar.go(""),
  stop: conversation.stop,
});

// Gradio reloads the page when the server was away: what stands in the box must outlive that, and any other reload.
addEventListener("pagehide", keepDraft);
addEventListener("offline", () => notices.say(t("This device is offline. Nothing you wrote is lost; continue when it is online again.")));
addEventListener("online", () => notices.say(""));
