// The open conversation in the browser: sends, follows what is written, and hands Gradio's chatbot what to show. The
// server's end, and what its events mean, is chatapp/ui/live.py. It keeps going through a lost line and a restart.
const chat = (() => {
  const UNCHANGED = { __type__: "update" }; // Gradio leaves such an output as it is
  const PAUSES = [1, 2, 4, 8]; // seconds before trying again, the last one again and again
  const FRAME = 30; // ms: changes within it are shown together
  const AWAY = 30_000; // ms out of sight, after which the conversation may have changed elsewhere
  const others = new BroadcastChannel("chat"); // this browser's other windows

  let conversation = "";
  let entries = []; // of each message, as live.py says
  let unsure = null; // what was sent, and may have been taken without a reply
  let following = null; // an AbortController while a stream is being read
  let timer = 0;
  let hiddenAt = 0;

  const show = () => {
    timer ||= setTimeout(() => {
      timer = 0;
      document.querySelector("#show").click(); // Gradio then asks for shown()
      document.querySelector("#main").classList.toggle("can-go-on", Boolean(entries.at(-1)?.goOn));
    }, FRAME);
  };

  const say = (words) => {
    const place = document.querySelector("#refusal");
    if (place) place.textContent = words;
  };

  const take = (event) => {
    if (event.messages) {
      const kept = event.after ? entries.findIndex((entry) => entry.id === event.after) + 1 : 0;
      entries = [...entries.slice(0, kept), ...event.messages];
    } else if (event.text) {
      // New objects all the way: what is the same object is not looked at again.
      const last = entries.at(-1);
      const [words, ...rest] = last.shown.content;
      const content = [{ ...words, text: words.text + event.text }, ...rest];
      entries = [...entries.slice(0, -1), { ...last, shown: { ...last.shown, content } }];
    } else if (event.last) {
      entries = [...entries.slice(0, -1), event.last];
    } else if (event.error) {
      say(event.error);
    }
    show();
  };

  async function* eventsOf(response) {
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const lines = (rest + value).split("\n\n");
      rest = lines.pop();
      for (const line of lines) if (line.startsWith("data: ")) yield JSON.parse(line.slice(6));
    }
  }

  // Take events to their end; false if the stream broke off before it.
  const read = async (events) => {
    for await (const event of events) {
      if (event.end) return true;
      take(event);
    }
    return false;
  };

  const refusal = async (response) => {
    const answer = await response.json().catch(() => ({}));
    return answer.error || `The chat cannot be reached right now (${response.status}). Try again in a moment.`;
  };

  // The last message that will not change any more: what follows it is asked for.
  const lastWhole = () => entries.at(entries.at(-1)?.writing ? -2 : -1)?.id || "";

  const stopFollowing = () => {
    following?.abort();
    following = null;
  };

  // Show what is new in the open conversation, until nothing is being written in it any more.
  const follow = async (events) => {
    stopFollowing();
    const mine = (following = events?.controller || new AbortController());
    const isMine = () => following === mine;
    let failures = 0;
    while (isMine()) {
      try {
        if (!events) {
          const query = new URLSearchParams({ after: lastWhole() });
          const response = await fetch(`conversations/${encodeURIComponent(conversation)}/events?${query}`, {
            signal: mine.signal,
          });
          if (!isMine()) return;
          if (response.ok) {
            events = eventsOf(response);
            if (failures) say("");
            failures = 0;
          } else if (response.status < 500) {
            say(await refusal(response));
            break;
          } else {
            say(await refusal(response));
          }
        }
        if (events && (await read(events))) break;
      } catch {
        if (!isMine()) return; // another conversation was opened
      }
      events = null;
      if (!isMine()) return;
      const seconds = PAUSES[Math.min(failures++, PAUSES.length - 1)];
      if (failures > 1) say("The line to the chat is lost; nothing is lost with it. Trying again …");
      await pause(seconds);
    }
    if (isMine()) following = null;
  };

  const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

  // The reply to a question may be lost although it was taken: under its own name it can be asked again and is taken
  // once. (randomUUID is only there with HTTPS.)
  const newName = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

  // Ask until there is an answer, or for as long as a restart takes; null if there was none.
  const post = async (path, asked, signal) => {
    for (const seconds of [...PAUSES, 0]) {
      try {
        const response = await fetch(path, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify(asked),
          signal,
        });
        const isOurs = response.ok || response.headers.get("content-type")?.startsWith("application/json");
        if (isOurs) return response; // else a proxy's, while the chat is away
      } catch {}
      asked = { ...asked, again: true };
      if (seconds) {
        say("The chat cannot be reached. Trying again …");
        await pause(seconds);
      }
    }
    return null;
  };

  // Ask for a turn; return what "started" says, or null with the reason on the page.
  const begin = async (path, asked) => {
    const controller = new AbortController();
    const asksIn = conversation;
    const response = await post(path, asked, controller.signal);
    if (!response) {
      unsure = { path, ...asked };
      say("The chat cannot be reached. Your text is still in the box: send it again later; it is not taken twice.");
      return null;
    }
    unsure = null;
    if (!response.ok) {
      say(await refusal(response));
      return null;
    }
    say("");
    const events = eventsOf(response);
    const { started } = (await events.next()).value;
    if (conversation === asksIn) {
      conversation = started.conversation;
      events.controller = controller;
      follow(events);
    } else controller.abort(); // meanwhile another one was opened; the answer goes on without this page
    others.postMessage(started.conversation);
    return started;
  };

  const parameters = (model, temperature, top_p, max_tokens, system_prompt, length) => ({
    model,
    temperature,
    top_p,
    max_tokens,
    system_prompt,
    length,
  });

  const send = async (text, id, ...settings) => {
    const path = id ? `conversations/${encodeURIComponent(id)}/turns` : "conversations";
    const isAgain = unsure?.path === path && unsure.text === text;
    const name = isAgain ? { question: unsure.question, again: true } : { question: newName() };
    const asked = { text, ...name, after: lastWhole(), ...parameters(...settings) };
    const started = await begin(path, asked);
    if (!started || started.conversation !== conversation) return Array(5).fill(UNCHANGED);
    return ["", started.conversation, ...started.listing, { ...UNCHANGED, interactive: true }];
  };

  const goOn = async (id, ...settings) => {
    const path = `conversations/${encodeURIComponent(id)}/continuations`;
    const asked = { message: entries.at(-1)?.id, after: entries.at(-2)?.id || "", ...parameters(...settings) };
    const started = await begin(path, asked);
    return started ? started.listing : [UNCHANGED, UNCHANGED];
  };

  const open = (id) => {
    stopFollowing();
    say("");
    conversation = id || "";
    entries = [];
    show();
    if (conversation) follow();
  };

  // Everything of this person; the answer says how many conversations that were, or why not all are gone.
  const deleteEverything = async () => {
    if (!confirm("Delete all your conversations for good?")) return;
    const response = await fetch("delete-everything", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ confirm: true }),
    }).catch(() => null);
    if (response?.ok) location.replace(location.pathname);
    else say(response ? await refusal(response) : "The chat cannot be reached, so nothing was deleted. Try again.");
  };

  document.addEventListener("click", (event) => {
    const kind = event.target.closest("[data-export]")?.dataset.export;
    if (!kind) return;
    event.preventDefault();
    if (conversation) location.assign(`export/${encodeURIComponent(conversation)}.${kind}`);
    else say("This conversation is empty: there is nothing to take along yet.");
  });

  const lookAgain = () => conversation && !following && follow();
  others.onmessage = ({ data }) => data === conversation && lookAgain();
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) hiddenAt = Date.now();
    else if (Date.now() - hiddenAt > AWAY) lookAgain();
  });

  return { deleteEverything, goOn, open, send, shown: () => [entries.map((entry) => entry.shown)] };
})();
