// The server's end is chatapp/http/api. Paths are relative to the app's root, wherever it is mounted.
import { allWords, parsed, said, t } from "./words.js";

export class Refusal extends Error {
  constructor(words, status) {
    super(words);
    this.status = status;
  }
}

// Whom the page is for: {kind, name, address}. Once nobody is signed in any more, nothing is asked or sent until the same
// person is back: as a guest, or as somebody else, they would write into a history that is not theirs.
export const me = {};
let isOut = false;
const listeners = new Set();
// Call `listener(isOut, signIn)` when nobody is signed in any more, and when somebody is again.
export const onSignedOut = (listener) => listeners.add(listener);

const signedOut = (now, signIn = "") => {
  if (now === isOut) return;
  isOut = now;
  listeners.forEach((listener) => listener(isOut, signIn));
};

// (A proxy that signs people in, such as Google's, answers with the way to its own page.)
export const isSignedOut = (response) => response.status === 401 || response.type === "opaqueredirect";

const isBack = async () => {
  const response = await fetch("me", { redirect: "manual" });
  if (!response.ok) return false;
  const now = await response.json();
  const isSame = now.kind === me.kind && now.address === me.address;
  if (isSame) signedOut(false);
  else if (!me.kind) location.reload();
  else if (now.kind !== "anonymous") location.replace(new URL("./", document.baseURI));
  return isSame;
};

// Every request goes through here.
export const ask = async (path, asked = {}) => {
  if (isOut && !(await isBack())) return new Response("{}", { status: 401 });
  const response = await fetch(path, { ...asked, redirect: "manual" });
  if (isSignedOut(response)) {
    const { signIn } = await response
      .clone()
      .json()
      .catch(() => ({}));
    signedOut(true, signIn);
  }
  return response;
};

// Why there is no answer, "" where a notice of its own says that nobody is signed in.
export const wordsOf = async (response) => {
  if (isSignedOut(response)) return "";
  const answer = await response
    .text()
    .then(parsed)
    .catch(() => ({}));
  return (
    said(answer.error) ||
    t("The chat is unreachable ({status}). Try again in a moment.", { status: String(response.status) })
  );
};

export const options = (method, body, signal) => ({
  method,
  signal,
  headers: body === undefined ? {} : { "content-type": "application/json" },
  body: body === undefined ? undefined : JSON.stringify(body),
});

// Ask once; a Refusal says in words why there is no answer.
export const call = async (method, path, body) => {
  const response = await ask(path, options(method, body)).catch(() => null);
  if (!response)
    throw new Refusal(t("The chat is unreachable. Nothing was changed; try again in a moment."), 0);
  if (!response.ok) throw new Refusal(await wordsOf(response), isSignedOut(response) ? 401 : response.status);
  return parsed(await response.text());
};

export const pathOf = (conversation, rest = "") => `conversations/${encodeURIComponent(conversation)}${rest}`;

// A part of the page that is not there from the start.
export const part = async (name) => {
  await allWords();
  return import(`./${name}.js`).catch(() => {
    throw new Refusal(t("A part of the page could not be loaded. Reload the page; your text is still in the box."), 0);
  });
};
