// The open conversation: its messages, its event stream, and all actions that start a turn.
import { call, errorText, pathOf } from "./api.js";
import { attempt, showError } from "./notices.js";
import { eventsOf, follow, isFollowing, newId, postTurn, stopFollowing } from "./stream.js";
import { channel } from "./windows.js";
import { parseJson, t, translated } from "./words.js";

const REFRESH_AFTER = 30_000; // ms in the background, after which the conversation may have changed elsewhere
const CURRENT_FOR = 5_000; // ms between two looks while the person types
const UNSAVED_EVERY = 3_000; // ms between two looks whether the cloud has a message that it had not
const UPLOAD_TRIES = 5; // the chat may have several replicas, each with uploads of its own

export const open = {
  id: "",
  item: null, // its entry in the list
  isTemporary: false, // whether a new one will be
  collection: "", // of a new one: ids of its collection and its folder
  folder: "",
  entries: [], // the messages of the shown branch, see chatapp/http/api/schemas
  earlier: 0, // the number of messages before them
};
const listeners = new Set();
let mustReload = false; // another version was chosen: all messages are read again
let loadedItem = null; // what the page has shown of the open conversation's model and instructions
let unconfirmed = null; // the last request without a response; the server may have accepted it

// Call `listener(what, differs)` after each change: "opened" (nothing is loaded yet), "loaded", "entries" or "item".
// A conversation is loaded again after a lost connection or a change elsewhere. `differs(name)` tells whether a property
// of its item is another one than before: only then it replaces what the person has chosen or typed since.
export const onChange = (listener) => listeners.add(listener);
const notify = (what, differs) => listeners.forEach((listener) => listener(what, differs));

export const isWriting = () => open.entries.some((entry) => entry.writing);

const applyEvent = (event) => {
  const wasWriting = isWriting();
  if (event.conversation) {
    const before = loadedItem;
    loadedItem = event.conversation;
    setItem(event.conversation);
    notify("loaded", (name) => !before || before[name] !== loadedItem[name]);
  }
  if (event.messages) {
    const keptCount = event.after ? open.entries.findIndex((entry) => entry.id === event.after) + 1 : 0;
    if (event.after && !keptCount) {
      mustReload = true; // the messages before these are not here
      followOpen();
      return;
    }
    mustReload = false;
    if (!event.after) open.earlier = event.earlier || 0;
    open.entries = [...open.entries.slice(0, keptCount), ...event.messages];
  } else if (event.message) {
    open.entries = open.entries.map((entry) => (entry.id === event.message.id ? event.message : entry));
  } else if (event.id) {
    // New objects: an entry that is the same object is not rendered again.
    open.entries = open.entries.map((entry) =>
      entry.id === event.id
        ? { ...entry, text: entry.text + event.text, thinking: entry.thinking + (event.thinking || "") }
        : entry,
    );
  } else if (event.title) {
    setItem({ ...open.item, title: event.title });
  } else if (event.error) {
    showError(translated(event.error));
  }
  const writing = isWriting();
  if (open.item && open.item.writing !== writing) setItem({ ...open.item, writing });
  notify("entries");
  if (wasWriting && !writing) notify("answered");
  lookAtUnsaved();
};

// Follow messages that the cloud does not have yet until it has them.
let unsavedTimer = 0;
const lookAtUnsaved = () => {
  if (unsavedTimer || !open.entries.some(isUnsaved)) return;
  unsavedTimer = setTimeout(() => {
    unsavedTimer = 0;
    if (!document.hidden && !isFollowing()) refresh({ quick: true });
    lookAtUnsaved();
  }, UNSAVED_EVERY);
};

// Choose the collection of a new conversation.
export const setNewCollection = (collection) => {
  open.collection = collection;
  notify("item");
};

export const setItem = (item) => {
  open.item = item;
  notify("item");
};

const lastBefore = (condition) => {
  if (mustReload) return null;
  const at = open.entries.findIndex(condition);
  return (at < 0 ? open.entries.at(-1) : open.entries[at - 1]) || null;
};
const isUnsaved = (entry) => entry.saved === false;
// The last message that is complete, and the last one that will not change any more: the stream continues after that.
const lastComplete = () => lastBefore((entry) => entry.writing);
const lastSettled = () => lastBefore((entry) => entry.writing || isUnsaved(entry));

// What the page shows, for a server that may know less or more: `seen` is its last message with those shortly before it,
// which another replica may have written at the same time; the stream continues after the message `id`, and `shown`
// counts the messages up to that one.
const NAMED = 6, NAMED_MS = 3600_000; // older ones may have expired
const seen = () => {
  const last = lastComplete();
  if (!last) return {};
  const before = open.entries.slice(0, open.entries.indexOf(last)).slice(-NAMED);
  const earlier = before.filter((entry) => last.created - entry.created < NAMED_MS).map((entry) => entry.id);
  return { seen: { id: last.id, revision: last.revision, earlier } };
};
const upTo = (id) => {
  const at = open.entries.findIndex((entry) => entry.id === id);
  return at < 0 ? { after: id } : { after: id, shown: open.earlier + at + 1 };
};

const followOpen = (events, controller, look = {}) =>
  follow(
    () => `${pathOf(open.id, "/events")}?${new URLSearchParams({ ...upTo(lastSettled()?.id || ""), ...look })}`,
    applyEvent,
    events,
    controller,
  );

// Show a conversation, "" for a new one. `item` is what the list knows of it.
export const show = (id, item = null, { isTemporary = false, folder = "" } = {}) => {
  stopFollowing();
  showError("");
  mustReload = false;
  loadedItem = null;
  Object.assign(open, { id, item, isTemporary, collection: "", folder, entries: [], earlier: 0 });
  notify("opened");
  if (id) followOpen();
};

export const showEarlier = async () => {
  const id = open.id;
  const first = open.entries[0]?.id;
  const before = await attempt(() => call("GET", pathOf(id, `/messages?before=${first}`)));
  if (!before || open.id !== id || open.entries[0]?.id !== first) return;
  open.entries = [...before.messages, ...open.entries];
  open.earlier = before.earlier;
  notify("entries");
};

// The ids of a request's images and documents that the chat does not have, null if that is not why it refused it.
const missingUploads = async (response) => {
  if (response?.status !== 409) return null;
  const { missing } = await response
    .clone()
    .json()
    .catch(() => ({}));
  return missing || null;
};

// Start a turn; true if it started, else the page shows the error. `uploadAgain(ids)` uploads files that the chat does
// not have any more, and returns all files of the request.
const startTurn = async (path, request, uploadAgain) => {
  const controller = new AbortController();
  const conversationId = open.id;
  let response = await postTurn(path, request, controller.signal);
  for (let tries = 0; uploadAgain && tries < UPLOAD_TRIES; tries++) {
    const missing = await missingUploads(response);
    if (!missing) break;
    request = { ...request, ...(await uploadAgain(missing)) };
    response = await postTurn(path, request, controller.signal);
  }
  if (!response) {
    unconfirmed = { path, ...request };
    showError(
      t("The chat is unreachable. Your text is still in the box. Send it again later; it will not be sent twice."),
    );
    return false;
  }
  unconfirmed = null;
  if (!response.ok) {
    const newer = response.status === 409 ? await response.clone().text().then(parseJson) : {};
    showError(await errorText(response));
    // The conversation went on elsewhere: the text stays in the box, and what it does not know yet is shown.
    if (newer.messages && open.id === conversationId) {
      applyEvent(newer);
      if (isWriting()) followOpen();
    }
    return false;
  }
  showError("");
  const events = eventsOf(response);
  const { started } = (await events.next()).value;
  if (open.id === conversationId) {
    open.id = started.conversation.id;
    loadedItem = started.conversation; // with the settings that were sent
    setItem(started.conversation);
    followOpen(events, controller);
  } else controller.abort(); // another conversation was opened meanwhile; the answer continues without this page
  tellOtherWindows(started.conversation.id);
  return true;
};

const retryKey = (path, request, name) => {
  const isAgain =
    unconfirmed?.path === path && unconfirmed.text === request.text && unconfirmed.follows === request.follows;
  return isAgain ? { [name]: unconfirmed[name], retry: true } : { [name]: newId() };
};

// Send a message; `follows` where it is another version of an earlier question. For `uploadAgain` see `startTurn`.
export const send = (request, follows, uploadAgain) => {
  const path = open.id ? pathOf(open.id, "/turns") : "conversations";
  const sent = { ...request, ...seen(), ...upTo(follows ?? (lastComplete()?.id || "")) };
  if (follows !== undefined) sent.follows = follows;
  if (!open.id && open.isTemporary) sent.temporary = true;
  if (!open.id && open.collection) sent.collection = open.collection;
  if (!open.id && open.folder) sent.folder = open.folder;
  return startTurn(path, { ...sent, ...retryKey(path, sent, "question") }, uploadAgain);
};

// Answer a question again; the previous answer stays a version.
export const regenerate = (question, request) => {
  const path = pathOf(open.id, "/answers");
  const sent = { ...answerOptions(request), question, ...seen(), ...upTo(question) };
  return startTurn(path, { ...sent, ...retryKey(path, request, "answer") });
};

export const continueAnswer = (request) => {
  const entry = open.entries.at(-1);
  const sent = { ...answerOptions(request), message: entry.id, ...seen(), ...upTo(entry.follows || "") };
  return startTurn(pathOf(open.id, "/continuations"), sent);
};

// Only a question sets the persona and compares answers.
const answerOptions = ({ persona, compareWith, ...options }) => options;

export const stop = () => attempt(() => call("POST", pathOf(open.id, "/stop"), {}));

// Show another version of a message, and store the choice.
export const chooseVersion = async (message) => {
  const item = await attempt(() => call("PATCH", pathOf(open.id), { branch: message }));
  if (!item) return;
  setItem(item);
  mustReload = true;
  followOpen();
};

export const rate = (message, feedback) =>
  attempt(async () => {
    await call("PUT", pathOf(open.id, `/messages/${message}/feedback`), { feedback });
    applyEvent({ message: { ...open.entries.find((entry) => entry.id === message), feedback } });
  });

// A stream stays open after an answer, for the conversation's title.
let refreshedAt = 0;
export const refresh = (look) => {
  refreshedAt = Date.now();
  return open.id && !(isFollowing() && isWriting()) && followOpen(undefined, undefined, look);
};
// Another device may have gone on: what it wrote is here before the next message is sent.
let nextLook = 0;
const refreshIfOld = () => {
  const wait = refreshedAt + CURRENT_FOR - Date.now();
  if (wait > 0) {
    nextLook ||= setTimeout(() => {
      nextLook = 0;
      refreshIfOld();
    }, wait);
  } else if (!isFollowing()) refresh({ quick: true });
};
addEventListener("focus", refreshIfOld);
addEventListener("input", refreshIfOld);
let hiddenAt = 0;
const tellOtherWindows = channel("chat", (id) => id === open.id && refresh());
document.addEventListener("visibilitychange", () => {
  if (document.hidden) hiddenAt = Date.now();
  else if (Date.now() - hiddenAt > REFRESH_AFTER) refresh();
});
addEventListener("online", () => refresh());
