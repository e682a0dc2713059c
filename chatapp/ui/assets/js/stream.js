// Follows the event stream of the open conversation, through lost connections and restarts.
import { errorText, fetchApi, isFromChat, options } from "./api.js";
import { parseJson, t } from "./words.js";
import { showError } from "./notices.js";

const PAUSES = [1, 2, 4, 8]; // seconds before a retry; the last one repeats
const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

export async function* eventsOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n\n");
    rest = lines.pop();
    for (const line of lines) if (line.startsWith("data: ")) yield await parseJson(line.slice(6));
  }
}

// Process events to their end; false if the stream ended before.
const readToEnd = async (events, onEvent) => {
  for await (const event of events) {
    if (event.end) return true;
    onEvent(event);
  }
  return false;
};

let currentStream = null; // an AbortController while a stream is being read
export const isFollowing = () => Boolean(currentStream);

export const stopFollowing = () => {
  currentStream?.abort();
  currentStream = null;
};

// Pass new events to `take` until no answer is being written. `path` returns the address to continue from.
export const follow = async (path, onEvent, events, controller = new AbortController()) => {
  stopFollowing();
  currentStream = controller;
  const isCurrent = () => currentStream === controller;
  let failures = 0;
  while (isCurrent()) {
    try {
      if (!events) {
        const response = await fetchApi(path(), { signal: controller.signal });
        if (!isCurrent()) return;
        if (response.ok) {
          events = eventsOf(response);
          if (failures) showError("");
          failures = 0;
        } else {
          showError(await errorText(response));
          if (response.status < 500) break;
        }
      }
      if (events && (await readToEnd(events, (event) => isCurrent() && onEvent(event)))) break;
    } catch {
      if (!isCurrent()) return; // another conversation was opened
    }
    events = null;
    if (!isCurrent()) return;
    const seconds = PAUSES[Math.min(failures++, PAUSES.length - 1)];
    if (failures > 1) showError(t("Connection lost. Nothing you wrote is lost. Reconnecting…"));
    await pause(seconds);
  }
  if (isCurrent()) currentStream = null;
};

// Send a request until the chat responds, for as long as a restart takes; null if it did not. `again` makes the request
// of a retry.
export const postPatiently = async (path, request, again = (it) => it) => {
  for (const seconds of [...PAUSES, 0]) {
    try {
      const response = await fetchApi(path, request);
      if (isFromChat(response)) return response;
    } catch {}
    request = again(request);
    if (seconds) {
      showError(t("The chat is unreachable. Trying again…"));
      await pause(seconds);
    }
  }
  return null;
};

// Start a turn; null if there was no response. The request is idempotent by its id, because the response may be lost
// although the turn started.
export const postTurn = (path, request, signal) =>
  postPatiently(path, options("POST", request, signal), () => options("POST", { ...request, retry: true }, signal));

// (randomUUID is only there with HTTPS.)
export const newId = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
