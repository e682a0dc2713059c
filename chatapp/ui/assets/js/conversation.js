// The open conversation: its messages, its event stream, and all actions that start a turn.
import { call, pathOf, wordsOf } from "./api.js";
import { attempt, say } from "./notices.js";
import { eventsOf, follow, isFollowing, newName, post, stopFollowing } from "./stream.js";
import { said, t } from "./words.js";

const AWAY = 30_000; // ms in the background, after which the conversation may have changed elsewhere
const others = new BroadcastChannel("chat"); // this browser's other windows

export const open = {
  id: "",
  item: null, // as the list has it
  isTemporary: false, // a new one is to be
  entries: [], // of each message of the shown path, as chatapp/http/api says
  earlier: 0, // how many come before them
};
const listeners = new Set();
let isOutdated = false; // another version was chosen: all messages are read again
let unsure = null; // the last request without a response; the server may have accepted it

// Call `listener(what)` after each change: "opened" (nothing is loaded yet), "loaded", "entries" or "item".
export const onChange = (listener) => listeners.add(listener);
const changed = (what) => listeners.forEach((listener) => listener(what));

export const isWriting = () => open.entries.some((entry) => entry.writing);

const take = (event) => {
  if (event.conversation) {
    setItem(event.conversation);
    changed("loaded");
  }
  if (event.messages) {
    const kept = event.after ? open.entries.findIndex((entry) => entry.id === event.after) + 1 : 0;
    isOutdated = false;
    if (!event.after) open.earlier = event.earlier || 0;
    open.entries = [...open.entries.slice(0, kept), ...event.messages];
  } else if (event.message) {
    open.entries = open.entries.map((entry) => (entry.id === event.message.id ? event.message : entry));
  } else if (event.id) {
    // New objects: an entry that is the same object is not rendered again.
    open.entries = open.entries.map((entry) =>
      entry.id === event.id ? { ...entry, text: entry.text + event.text } : entry,
    );
  } else if (event.title) {
    setItem({ ...open.item, title: event.title });
  } else if (event.error) {
    say(said(event.error));
  }
  const writing = isWriting();
  if (open.item && open.item.writing !== writing) setItem({ ...open.item, writing });
  changed("entries");
};

const setItem = (item) => {
  open.item = item;
  changed("item");
};

// The last message that will not change any more; the stream continues after it.
const lastWhole = () => {
  if (isOutdated) return "";
  const at = open.entries.findIndex((entry) => entry.writing);
  return (at < 0 ? open.entries.at(-1) : open.entries[at - 1])?.id || "";
};

const followOpen = (events, controller) =>
  follow(
    () => `${pathOf(open.id, "/events")}?${new URLSearchParams({ after: lastWhole() })}`,
    take,
    events,
    controller,
  );

// Show a conversation, "" for a new one. `item` is what the list knows of it.
export const show = (id, item = null, { isTemporary = false } = {}) => {
  stopFollowing();
  say("");
  isOutdated = false;
  Object.assign(open, { id, item, isTemporary, entries: [], earlier: 0 });
  changed("opened");
  if (id) followOpen();
};

export const showEarlier = async () => {
  const id = open.id;
  const first = open.entries[0]?.id;
  const before = await attempt(() => call("GET", pathOf(id, `/messages?before=${first}`)));
  if (!before || open.id !== id || open.entries[0]?.id !== first) return;
  open.entries = [...before.messages, ...open.entries];
  open.earlier = before.earlier;
  changed("entries");
};

// Start a turn; true if it started, else the page shows the error.
const begin = async (path, request) => {
  const controller = new AbortController();
  const asksIn = open.id;
  const response = await post(path, request, controller.signal);
  if (!response) {
    unsure = { path, ...request };
    say(t("The chat is unreachable. Your text is still in the box. Send it again later; it will not be sent twice."));
    return false;
  }
  unsure = null;
  if (!response.ok) {
    say(await wordsOf(response));
    return false;
  }
  say("");
  const events = eventsOf(response);
  const { started } = (await events.next()).value;
  if (open.id === asksIn) {
    open.id = started.conversation.id;
    setItem(started.conversation);
    followOpen(events, controller);
  } else controller.abort(); // another conversation was opened meanwhile; the answer continues without this page
  others.postMessage(started.conversation.id);
  return true;
};

const sameName = (path, request, name) => {
  const isAgain = unsure?.path === path && unsure.text === request.text && unsure.follows === request.follows;
  return isAgain ? { [name]: unsure[name], retry: true } : { [name]: newName() };
};

// Send a message; `follows` where it is another version of an earlier question.
export const send = (request, follows) => {
  const path = open.id ? pathOf(open.id, "/turns") : "conversations";
  const sent = { ...request, after: lastWhole() };
  if (follows !== undefined) Object.assign(sent, { follows, after: follows });
  if (!open.id && open.isTemporary) sent.temporary = true;
  return begin(path, { ...sent, ...sameName(path, sent, "question") });
};

// Answer a question again; the previous answer stays a version.
export const answerAgain = (question, request) => {
  const path = pathOf(open.id, "/answers");
  return begin(path, { ...request, question, after: question, ...sameName(path, request, "answer") });
};

export const goOn = (request) => {
  const entry = open.entries.at(-1);
  return begin(pathOf(open.id, "/continuations"), { ...request, message: entry.id, after: entry.follows || "" });
};

export const stop = () => attempt(() => call("POST", pathOf(open.id, "/stop"), {}));

// Show another version of a message, and store the choice.
export const choose = async (message) => {
  const item = await attempt(() => call("PATCH", pathOf(open.id), { branch: message }));
  if (!item) return;
  setItem(item);
  isOutdated = true;
  followOpen();
};

export const rate = (message, feedback) =>
  attempt(async () => {
    await call("PUT", pathOf(open.id, `/messages/${message}/feedback`), { feedback });
    take({ message: { ...open.entries.find((entry) => entry.id === message), feedback } });
  });

// A stream stays open after an answer, for the conversation's title.
export const lookAgain = () => open.id && !(isFollowing() && isWriting()) && followOpen();
let hiddenAt = 0;
others.onmessage = ({ data }) => data === open.id && lookAgain();
document.addEventListener("visibilitychange", () => {
  if (document.hidden) hiddenAt = Date.now();
  else if (Date.now() - hiddenAt > AWAY) lookAgain();
});
addEventListener("online", lookAgain);
