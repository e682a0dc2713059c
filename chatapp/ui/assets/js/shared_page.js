// The page of a share link (chatapp/http/pages/shared.py): its HTML has the texts as they were written; this formats
// them, by the code of the chat's own page.
import { stored } from "./browser_storage.js";
import { find } from "./dom.js";
import * as links from "./links.js";
import { drawText } from "./message_text.js";
import * as notices from "./notices.js";

// Light or dark as the person has chosen in the chat, else as the system.
const dark = matchMedia("(prefers-color-scheme: dark)");
const showAppearance = () => {
  const chosen = stored("local", "appearance");
  document.documentElement.style.colorScheme = chosen;
  document.body.classList.toggle("dark", chosen ? chosen === "dark" : dark.matches);
};

showAppearance();
dark.addEventListener("change", showAppearance);
notices.start();
links.start();
const { images } = find("main").dataset;
document.querySelectorAll("#messages > article").forEach((row, i) => {
  const text = row.querySelector(".as-written").textContent;
  const isQuestion = row.dataset.role === "user";
  drawText(row, { id: String(i), text, isQuestion, isWriting: false, images });
});
document.body.classList.add("ready");
