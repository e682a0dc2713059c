// The server's end is chatapp/api. Paths are relative to the app's root, wherever it is mounted.
import { allWords, parsed, said, t } from "./words.js";

export class Refusal extends Error {
  constructor(words, status) {
    super(words);
    this.status = status;
  }
}

export const wordsOf = async (response) => {
  const answer = await response
    .text()
    .then(parsed)
    .catch(() => ({}));
  return (
    said(answer.error) ||
    t("The chat cannot be reached right now ({status}). Try again in a moment.", { status: String(response.status) })
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
  const response = await fetch(path, options(method, body)).catch(() => null);
  if (!response)
    throw new Refusal(t("The chat cannot be reached right now. Try again in a moment; nothing was changed."), 0);
  if (!response.ok) throw new Refusal(await wordsOf(response), response.status);
  return parsed(await response.text());
};

export const pathOf = (conversation, rest = "") => `conversations/${encodeURIComponent(conversation)}${rest}`;

// A part of the page that is not there from the start.
export const part = async (name) => {
  await allWords();
  return import(`./${name}.js`).catch(() => {
    throw new Refusal(t("A part of the page cannot be fetched. Load the page again; what you wrote stays."), 0);
  });
};
