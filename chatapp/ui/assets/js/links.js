// Asks before a link of a message leaves the chat, and says where it leads: the words of a link can say anything.
import { find, h, MESSAGE_TEXT } from "./dom.js";
import { t } from "./words.js";

const OWN_CONVERSATION = /\/c\/[A-Za-z0-9-]{1,80}$/;
const LONGEST = 300; // characters of an address that are shown

const isOwn = ({ origin, pathname, search }) =>
  origin === location.origin && OWN_CONVERSATION.test(pathname) && !search;

const ask = (link) => {
  const url = new URL(link.href);
  if (isOwn(url)) return open(url.href, "_blank", "noopener");
  const host = url.protocol === "mailto:" ? url.pathname : url.host; // a host in its ASCII form: no letter imitates another
  const question = t("This link leads to {host}", { host });
  const address = url.href.length > LONGEST ? `${url.href.slice(0, LONGEST)}…` : url.href;
  const close = () => dialog.close();
  const properties = { href: url.href, target: "_blank", rel: "noopener noreferrer", class: "primary", onclick: close };
  const dialog = h(
    "dialog",
    { class: "ask leaving", "aria-label": question },
    h("p", {}, question),
    h("p", { class: "address", dir: "ltr" }, address),
    h(
      "div",
      { class: "row" },
      h("button", { type: "button", autofocus: true, onclick: close }, t("Cancel")),
      h("a", properties, t("Open link")),
    ),
  );
  dialog.addEventListener("close", () => (dialog.remove(), link.isConnected && link.focus()));
  document.body.append(dialog);
  dialog.showModal();
};

export const start = () => {
  const onClick = (event) => {
    const link = event.target.closest?.(`${MESSAGE_TEXT} a[href]`);
    if (!link || event.button > 1) return;
    event.preventDefault();
    event.stopPropagation();
    if (!find("dialog.leaving")) ask(link);
  };
  addEventListener("click", onClick, true);
  addEventListener("auxclick", onClick, true); // the middle button
};
