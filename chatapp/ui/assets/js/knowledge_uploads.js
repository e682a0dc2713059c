// Adds documents to a collection, one after the other, also while its dialog is closed.
import { call, errorText, fetchApi, isFromChat, Refusal } from "./api.js";
import { contentOf } from "./document_file.js";
import { find } from "./dom.js";
import { isIgnored } from "./folder_files.js";
import { changed, collectionById, reload } from "./library.js";
import { showToast } from "./notices.js";
import { sendTelling } from "./upload_progress.js";
import { t } from "./words.js";

const PAUSES = [1, 2, 4, 8]; // seconds between tries while the chat is unreachable
const LONGEST_WAIT = 90; // seconds that a rate limit is waited for
const SHOWN_EVERY = 100; // ms

const SHOWN_AFTER = 5; // documents: the list of the collection is read again

// The batch that runs or ran last: of `all` files `done` were dealt with and `added` were added; `share` of the file `name`
// is sent. `refusals` are the sentences about those that were not added.
const NONE = { collection: "", all: 0, done: 0, added: 0, name: "", share: 0, isRunning: false, refusals: [] };
export const uploads = { ...NONE };
let stopped = new AbortController();
const listeners = new Set();
export const onUploads = (listener) => listeners.add(listener);
let shownAt = 0;
const tell = (changes, isMinor = false) => {
  Object.assign(uploads, changes);
  if (isMinor && Date.now() - shownAt < SHOWN_EVERY) return;
  shownAt = Date.now();
  listeners.forEach((listener) => listener());
};

export const stop = () => stopped.abort();
// Forget what became of the last batch, which was shown.
export const forget = () => uploads.isRunning || Object.assign(uploads, NONE, { refusals: [] });

// Two files of one name in different folders are two documents: each has its folders below the dropped one in its name.
export const namesOf = (paths) => {
  const nameOf = (path) => path.slice(path.lastIndexOf("/") + 1);
  const counts = new Map();
  for (const path of paths) counts.set(nameOf(path), (counts.get(nameOf(path)) || 0) + 1);
  const longName = (path) => path.slice(path.indexOf("/") + 1).replaceAll("/", " - ");
  return paths.map((path) => (counts.get(nameOf(path)) > 1 ? longName(path) : nameOf(path)));
};

const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

const post = async (path, content) => {
  const request = { method: "POST", headers: { "content-type": "application/octet-stream" }, body: content, signal: stopped.signal };
  for (const seconds of [...PAUSES, 0]) {
    const sending = sendTelling((share) => tell({ share }, true));
    const received = await fetchApi(path, request, sending).catch(() => null);
    if (stopped.signal.aborted) return null;
    const response = received && isFromChat(received) ? received : null;
    const wait = Number(response?.headers.get("retry-after") || 0);
    const isBusy = response && [429, 503].includes(response.status) && wait > 0 && wait <= LONGEST_WAIT;
    if ((response && !isBusy) || !seconds) return response;
    await pause(isBusy ? wait : seconds);
  }
};

const addOne = async (collection, { file, replaces }, name, bytes) => {
  const content = await contentOf(file, name, bytes);
  const path = `collections/${encodeURIComponent(collection)}/documents`;
  const response = await post(`${path}?${new URLSearchParams({ name })}`, content);
  if (stopped.signal.aborted) return;
  if (!response) throw new Refusal(t("The chat is unreachable. {name} was not added. Add it again later.", { name }), 0);
  if (!response.ok) {
    const words = await errorText(response);
    throw new Refusal(words.includes(name) ? words : t("{name}: {problem}", { name, problem: { translated: words } }), response.status);
  }
  const { id } = await response.json();
  if (replaces && replaces !== id) await call("DELETE", `${path}/${encodeURIComponent(replaces)}`).catch(() => {}); // it had another name
};

// Add files, each {file, path} and the id of the document that it `replaces`; `most` documents in the collection, each of
// at most `bytes`.
export const add = async (collection, added, { most, bytes }) => {
  const files = added.filter(({ path }) => !isIgnored(path));
  const names = namesOf(files.map(({ path }) => path));
  const present = new Set((collection.documents || []).map(({ name }) => name));
  let room = most - present.size;
  const taken = files.map((file, i) => ({ ...file, name: names[i] })).filter(({ name, replaces }) => replaces || present.has(name) || room-- > 0);
  const refusals = [];
  if (taken.length < files.length)
    refusals.push(
      t("Documents that the collection has no room for: {number}. The first ones were added.", {
        number: files.length - taken.length,
      }),
    );
  stopped = new AbortController();
  tell({ ...NONE, collection: collection.id, all: taken.length, isRunning: true, refusals });
  for (const { name, ...file } of taken) {
    tell({ name, share: 0 });
    try {
      await addOne(collection.id, file, name, bytes);
      if (stopped.signal.aborted) break;
      tell({ added: uploads.added + 1 });
    } catch (error) {
      uploads.refusals.push(error.message);
      if (error instanceof Refusal && [0, 401].includes(error.status)) break;
    }
    tell({ done: uploads.done + 1 });
    if (uploads.done % SHOWN_AFTER === 0) await reload().catch(() => {});
  }
  await changed().catch(() => {});
  const left = taken.length - uploads.done;
  if (left > 0) uploads.refusals.push(t("Documents not added: {number}. Add them again to go on.", { number: left }));
  tell({ isRunning: false });
  const words = t("Added to {name}: {number}", { name: collectionById(collection.id)?.name || collection.name, number: uploads.added });
  if (!find("#knowledge")) showToast(words);
};
