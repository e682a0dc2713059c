// Follows the event stream of the open conversation, through lost connections and restarts.
import { ask, isSignedOut, options, wordsOf } from "./api.js";
import { parsed, t } from "./words.js";
import { say } from "./notices.js";

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
    for (const line of lines) if (line.startsWith("data: ")) yield await parsed(line.slice(6));
  }
}

// Process events to their end; false if the stream ended before.
const read = async (events, take) => {
  for await (const event of events) {
    if (event.end) return true;
    take(event);
  }
  return false;
};

let following = null; // an AbortController while a stream is being read
export const isFollowing = () => Boolean(following);

export const stopFollowing = () => {
  following?.abort();
  following = null;
};

// Pass new events to `take` until no answer is being written. `path` returns the address to continue from.
export const follow = async (path, take, events, controller = new AbortController()) => {
  stopFollowing();
  following = controller;
  const isMine = () => following === controller;
  let failures = 0;
  while (isMine()) {
    try {
      if (!events) {
        const response = await ask(path(), { signal: controller.signal });
        if (!isMine()) return;
        if (response.ok) {
          events = eventsOf(response);
          if (failures) say("");
          failures = 0;
        } else {
          say(await wordsOf(response));
          if (response.status < 500) break;
        }
      }
      if (events && (await read(events, take))) break;
    } catch {
      if (!isMine()) return; // another conversation was opened
    }
    events = null;
    if (!isMine()) return;
    const seconds = PAUSES[Math.min(failures++, PAUSES.length - 1)];
    if (failures > 1) say(t("Connection lost. Nothing you wrote is lost. Reconnecting…"));
    await pause(seconds);
  }
  if (isMine()) following = null;
};

// Start a turn, with retries for as long as a restart takes; null if there was no response. The request is idempotent
// by its id, because the response may be lost although the turn started.
export const post = async (path, request, signal) => {
  for (const seconds of [...PAUSES, 0]) {
    try {
      const response = await ask(path, options("POST", request, signal));
      const isOurs =
        response.ok || isSignedOut(response) || response.headers.get("content-type")?.startsWith("application/json");
      if (isOurs) return response; // else a proxy's, while the chat is unreachable
    } catch {}
    request = { ...request, retry: true };
    if (seconds) {
      say(t("The chat is unreachable. Trying again…"));
      await pause(seconds);
    }
  }
  return null;
};

// (randomUUID is only there with HTTPS.)
export const newName = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
