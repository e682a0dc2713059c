// Imports a file of another chat: a part of the panel "Settings and data".
import { call, Refusal } from "./api.js";
import { setConversations } from "./conversation_lists.js";
import { h } from "./dom.js";
import { setLibrary } from "./library.js";
import { parseJson, percent, t, translated } from "./words.js";

const EVENT = "data: ";

// Send the file, and call `onUpload(share)` and `onEvent(event)`. Resolves when the response has ended. `fetch` does not
// tell how much of a body is sent.
const send = (file, onUpload, onEvent, stopped) =>
  new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    let read = 0;
    const readEvents = async () => {
      const end = request.responseText.lastIndexOf("\n\n");
      const lines = request.responseText.slice(read, end).split("\n");
      read = Math.max(read, end);
      for (const line of lines) if (line.startsWith(EVENT)) onEvent(await parseJson(line.slice(EVENT.length)));
    };
    request.open("POST", "imports");
    request.setRequestHeader("content-type", "application/octet-stream");
    request.upload.addEventListener("progress", ({ loaded, total }) => onUpload(loaded / total));
    request.addEventListener("progress", () => request.status === 200 && readEvents());
    request.addEventListener("load", async () => {
      if (request.status === 200) return resolve(readEvents());
      const { error } = await parseJson(request.responseText).catch(() => ({}));
      reject(new Refusal(translated(error) || unreachable(request.status), request.status));
    });
    request.addEventListener("error", () => reject(new Refusal(interrupted(), 0)));
    request.addEventListener("abort", () => reject(new Refusal(stoppedWords(), 0)));
    stopped.addEventListener("abort", () => request.abort());
    request.send(file);
  });

const stoppedWords = () =>
  t("Import stopped. What was imported is kept. Add the same file again to continue.");

const interrupted = () =>
  t("The import was interrupted. What was imported is kept. Add the same file again to continue.");

const tooLarge = (most) =>
  t(
    "This file has more than {most} MB, and that is the most that can be imported here. Nothing was imported. Export fewer conversations, or ask the operator of this chat to import the file.",
    { most: Math.floor(most / 1e6) },
  );

const unreachable = (status) =>
  t("The chat is unreachable ({status}). Try again in a moment.", { status: String(status) });

const list = (lines) =>
  h(
    "ul",
    {},
    lines.map((line) => h("li", {}, translated(line))),
  );

const showReport = (result, { added, leftOut }) =>
  result.replaceChildren(
    h("p", {}, h("b", {}, t("Import finished"))),
    list(added),
    ...(leftOut.length ? [h("p", {}, h("b", {}, t("Left out"))), list(leftOut)] : []),
  );

// The section, whose file may have `most` bytes.
export const importSection = (most) => {
  const bar = h("progress", { max: "1", value: "0", "aria-label": t("Import conversations") });
  const words = h("span", {});
  const count = h("span", { class: "quiet" });
  const stop = h("button", { type: "button", class: "button" }, t("Stop the import"));
  const state = h("div", { class: "import-state", role: "status", hidden: true }, bar, h("div", {}, words, count), stop);
  const result = h("div", { class: "import-result", role: "status" });
  const input = h("input", { type: "file", accept: ".zip,.json,.html,application/zip,application/json,text/html", hidden: true });
  const choose = h("button", { type: "button", class: "button", onclick: () => input.click() }, t("Choose a file"));
  const show = (text, share) => ((words.textContent = text), (bar.value = share));

  const onEvent = ({ progress, report, error }) => {
    if (error) throw new Refusal(translated(error), 200);
    if (report) return showReport(result, report);
    const share = percent(progress.share);
    const text = progress.checking ? t("Checking the file: {share}", { share }) : t("Importing: {share}", { share });
    show(text, progress.share);
    count.textContent = t("Conversations so far: {count}", { count: progress.conversations });
  };

  const add = async (file) => {
    if (!file || !state.hidden) return;
    result.replaceChildren();
    count.textContent = "";
    const stopped = new AbortController();
    stop.onclick = () => stopped.abort();
    [state.hidden, choose.disabled] = [false, true];
    try {
      if (file.size > most) throw new Refusal(tooLarge(most), 413);
      show(t("Uploading: {share}", { share: percent(0) }), 0);
      const onUpload = (share) => show(t("Uploading: {share}", { share: percent(share) }), share);
      let problem = null;
      const onEach = (event) => {
        try {
          onEvent(event);
        } catch (error) {
          problem = error;
        }
      };
      await send(file, onUpload, onEach, stopped.signal);
      if (problem) throw problem;
      if (!result.firstChild) throw new Refusal(interrupted(), 0);
    } catch (error) {
      result.replaceChildren(h("p", { class: "refusal", role: "alert" }, error.message));
    }
    [state.hidden, choose.disabled] = [true, false];
    input.value = "";
    await call("GET", "state")
      .then((now) => (setLibrary(now.library), setConversations(now.conversations)))
      .catch(() => {});
  };

  const section = h(
    "section",
    {
      id: "import",
      ondragover: (event) => (event.preventDefault(), section.classList.add("over")),
      ondragleave: () => section.classList.remove("over"),
      ondrop: (event) => {
        event.preventDefault();
        event.stopPropagation();
        section.classList.remove("over");
        add(event.dataTransfer.files[0]);
      },
    },
    h("h3", {}, t("Import conversations")),
    h(
      "p",
      { class: "quiet" },
      t(
        "From ChatGPT, Claude, Gemini (Google Takeout), Open WebUI, LibreChat or this chat. Choose the file as you downloaded it, or drop it here.",
      ),
    ),
    choose,
    input,
    state,
    result,
  );
  input.addEventListener("change", () => add(input.files[0]));
  return section;
};
