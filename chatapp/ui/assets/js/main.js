// Starts all modules once Gradio's components exist, and provides the functions that Gradio's events call.
import { call, loadModule } from "./api.js";
import * as account from "./account.js";
import * as attachments from "./attachments.js";
import * as clipboard from "./clipboard.js";
import * as conversation from "./conversation.js";
import { setConversations } from "./conversation_lists.js";
import * as direction from "./direction.js";
import { find, h } from "./dom.js";
import * as comparison from "./comparison.js";
import * as enterKey from "./enter_key.js";
import { store, stored } from "./browser_storage.js";
import { messageLog, messageText, setMessageText } from "./gradio_bridge.js";
import * as header from "./header.js";
import * as installing from "./installing.js";
import { onLibrary, openCollection, setLibrary } from "./library.js";
import * as links from "./links.js";
import * as shortcuts from "./shortcuts.js";
import * as messages from "./messages.js";
import * as models from "./models.js";
import * as navigation from "./navigation.js";
import * as notices from "./notices.js";
import * as notifying from "./notifying.js";
import * as parameters from "./parameters.js";
import * as pasting from "./pasting.js";
import * as printing from "./printing.js";
import * as personas from "./personas.js";
import { setProfile } from "./profile.js";
import { shareSetting } from "./share_setting.js";
import * as sidebar from "./sidebar.js";
import * as welcome from "./welcome.js";
import { t } from "./words.js";

const DRAFT = "draft";
const RETRY_AFTER = 2000; // ms

// What the page shows at first, in one request. Retried while the chat is unreachable.
const state = async () => {
  const id = navigation.idInAddress();
  for (let failures = 0; ; failures++) {
    try {
      const now = await call("GET", `state?conversation=${encodeURIComponent(id)}`);
      if (failures) notices.showError("");
      return now;
    } catch (error) {
      notices.showError(error.message);
      if (error.status === 401) await new Promise(() => {}); // its notice leads away from here
      await new Promise((resolve) => setTimeout(resolve, RETRY_AFTER));
    }
  }
};

// A draft in the message box survives a reload for its author, and a guest's draft for the account that signs in next.
const storeDraft = () => {
  const [text, documents] = [messageText(), attachments.draftDocuments()];
  const hasDraft = Boolean(text || documents.length);
  // (A page that was left before it was ready has shown no draft.)
  if (hasDraft || document.body.classList.contains("ready"))
    store("session", DRAFT, hasDraft && JSON.stringify({ text, documents, owner: account.owner() }));
};
const draft = () => {
  try {
    const { owner, ...content } = JSON.parse(stored("session", DRAFT));
    return !owner || owner === account.owner() ? content : {};
  } catch {
    return {}; // none is stored
  }
};

const load = async (temperature, top_p, max_tokens) => {
  parameters.setDefaults({ temperature, top_p, max_tokens });
  direction.start();
  messageLog()?.setAttribute("aria-label", t("Messages"));
  notices.start();
  enterKey.start();
  clipboard.start();
  find("#tools").append(h("div", { class: "chat-tools" }));
  messages.start();
  models.start();
  personas.start();
  parameters.start();
  comparison.start();
  attachments.start();
  pasting.start();
  welcome.start();
  header.start();
  navigation.start();
  sidebar.start();
  account.start();
  shortcuts.start();
  links.start();
  printing.start();
  notifying.start();
  const id = navigation.idInAddress();
  conversation.show(id);
  const now = await state();
  welcome.setStore(now.storeKind);
  account.setMe(now.me); // first: the models' places are named differently for a local user
  models.setModels(now);
  setProfile(now.profile);
  const { text, documents } = draft();
  if (text && !messageText()) setMessageText(text);
  attachments.restoreDocuments(documents);
  setLibrary({ ...now.library, most: now.limits.collectionDocuments || 0 });
  attachments.setLimits(now.limits);
  setConversations(now.conversations);
  shareSetting.who = now.shareLinks;
  [conversation.onChange, onLibrary].forEach((onUpdate) => onUpdate(showCollection));
  showCollection();
  document.body.classList.add("ready");
  installing.start();
};

// The collection of the conversation is shown by a module that the first one loads.
let chip = null;
const showCollection = () => {
  if (!chip && openCollection()) chip = notices.attempt(() => loadModule("collection_chip")).then((loaded) => (chip = loaded));
};

let sending = null; // the text that is being sent and not yet accepted: Enter may be pressed twice
const send = async (text, temperature, top_p, max_tokens, system_prompt) => {
  parameters.parametersChanged(temperature, top_p, max_tokens);
  parameters.instructionsChanged(system_prompt);
  if (sending !== null) {
    if (text !== sending)
      notices.showError(t("An answer is being written. Wait until it is finished, or stop it first."));
    return;
  }
  const problem = conversation.open.entries.some((entry) => entry.column && !entry.writing)
    ? t("Choose one of the two answers first. The other one stays available as a version.")
    : attachments.problem();
  if (problem) return notices.showError(problem);
  sending = text;
  try {
    const { id } = conversation.open;
    const isSent = await notices.attempt(async () => {
      const request = { ...parameters.requestParameters(), text, ...(await attachments.uploaded()) };
      if (conversation.open.id !== id) return false; // another one was opened meanwhile; the text is still in the box
      return conversation.send(request, undefined, attachments.uploaded);
    });
    if (!isSent) return;
  } finally {
    sending = null;
  }
  attachments.clear();
  // The text stood in the box until it was accepted; the person may have typed more since.
  if (messageText().startsWith(text)) setMessageText(messageText().slice(text.length).trimStart());
};

window.provideChat({
  load,
  send,
  messagesValue: messages.messagesValue,
  parametersValue: parameters.parametersValue,
  parametersChanged: parameters.parametersChanged,
  instructionsChanged: parameters.instructionsChanged,
  resetParameters: parameters.resetParameters,
  startNew: () => navigation.openConversation(""),
  stop: conversation.stop,
});

// Gradio reloads the page after the server was unreachable; a draft has to survive that and any other reload.
addEventListener("pagehide", storeDraft);
addEventListener("offline", () =>
  notices.showError(t("This device is offline. Nothing you wrote is lost; continue when it is online again.")),
);
addEventListener("online", () => notices.showError(""));
