// Requests to the API (chatapp/http/api). Paths are relative to the app's root, wherever it is mounted.
import { loadAllTranslations, parseJson, t, translated } from "./words.js";

export class Refusal extends Error {
  constructor(words, status) {
    super(words);
    this.status = status;
  }
}

// The page's user: {kind, name, address}. After a session has ended, no request is sent until the same user is signed
// in again: a guest or another user would write into another history.
export const me = {};
let isOut = false;
const listeners = new Set();
// Call `listener(isOut, signIn)` when the session has ended, and when the user is signed in again.
export const onSignedOut = (listener) => listeners.add(listener);

const signedOut = (now, signIn = "") => {
  if (now === isOut) return;
  isOut = now;
  listeners.forEach((listener) => listener(isOut, signIn));
};

// (A proxy that signs people in, such as Google's, redirects to its own page.)
export const isSignedOut = (response) => response.status === 401 || response.type === "opaqueredirect";

// Else a response is a proxy's, while the chat is unreachable, or of a request that a restart cancelled.
export const isFromChat = (response) =>
  (response.ok || isSignedOut(response) || response.headers.get("content-type")?.startsWith("application/json")) &&
  response.headers.get("x-request-outcome") !== "unknown";

const isSignedInAgain = async () => {
  const response = await fetch("me", { redirect: "manual" });
  if (!response.ok) return false;
  const now = await response.json();
  const isSame = now.kind === me.kind && now.address === me.address;
  if (isSame) signedOut(false);
  else if (!me.kind) location.reload();
  else if (now.kind !== "anonymous") location.replace(new URL("./", document.baseURI));
  return isSame;
};

// Every request goes through here. `send` sends it, as `fetch` does.
export const fetchApi = async (path, request = {}, send = fetch) => {
  if (isOut && !(await isSignedInAgain())) return new Response("{}", { status: 401 });
  const response = await send(path, { ...request, redirect: "manual" });
  if (isSignedOut(response)) {
    const { signIn } = await response
      .clone()
      .json()
      .catch(() => ({}));
    signedOut(true, signIn);
  }
  return response;
};

// The error of a response as text; "" after the session has ended, which has a notice of its own.
export const errorText = async (response) => {
  if (isSignedOut(response)) return "";
  const answer = await response
    .text()
    .then(parseJson)
    .catch(() => ({}));
  return (
    translated(answer.error) ||
    t("The chat is unreachable ({status}). Try again in a moment.", { status: String(response.status) })
  );
};

export const options = (method, body, signal) => ({
  method,
  signal,
  headers: body === undefined ? {} : { "content-type": "application/json" },
  body: body === undefined ? undefined : JSON.stringify(body),
});

export const fileOptions = (file) => ({ method: "POST", headers: { "content-type": file.type }, body: file });

// Send a request and return the parsed response. Throws a Refusal with the error as text.
export const call = async (method, path, body) => {
  const response = await fetchApi(path, options(method, body)).catch(() => null);
  if (!response)
    throw new Refusal(t("The chat is unreachable. Nothing was changed; try again in a moment."), 0);
  if (!response.ok) throw new Refusal(await errorText(response), isSignedOut(response) ? 401 : response.status);
  return parseJson(await response.text());
};

export const pathOf = (conversation, rest = "") => `conversations/${encodeURIComponent(conversation)}${rest}`;

// Load a module that is not loaded with the page.
export const loadModule = async (name) => {
  await loadAllTranslations();
  return import(`./${name}.js`).catch(() => {
    throw new Refusal(t("A part of the page could not be loaded. Reload the page; your text is still in the box."), 0);
  });
};
