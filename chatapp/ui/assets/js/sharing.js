// Share links: the dialog that makes one to a conversation, and the list of the user's links, each of which can be turned off.
import { call, me, pathOf } from "./api.js";
import { copyText } from "./clipboard.js";
import { open as opened } from "./conversation.js";
import { directed } from "./direction.js";
import { h, iconButton } from "./dom.js";
import { dateTime, t } from "./words.js";

const DAYS = { 1: t("A day"), 7: t("A week"), 30: t("A month") };

const readers = (who) => {
  if (me.kind === "local") return t("The link opens wherever this chat can be reached: at home most often on this computer only.");
  return who === "anyone"
    ? t("Everybody who has the link can read it, without signing in.")
    : t("Only people who may use this chat can open the link.");
};

// A list of links that `isShown` selects. `attempt` runs an action and shows its error.
export const shareList = (attempt, isShown = () => true) => {
  const items = h("ul", { class: "shares" });
  const show = async () => {
    const { shares } = await call("GET", "shares");
    const shown = shares.filter(isShown);
    items.replaceChildren(...(shown.length ? shown.map(item) : [h("li", { class: "quiet" }, t("There are no links."))]));
  };
  const item = (share) =>
    h(
      "li",
      {},
      h(
        "div",
        {},
        directed(share.title),
        h("span", { class: "quiet" }, t("Made: {made}. Works until: {end}.", { made: dateTime(share.created), end: dateTime(share.expires) })),
      ),
      h(
        "button",
        {
          type: "button",
          "aria-label": t("Turn off the link to {title}", { title: share.title }),
          onclick: () =>
            attempt(async () => {
              await call("DELETE", `shares/${encodeURIComponent(share.id)}`);
              await show();
            }),
        },
        t("Turn off"),
      ),
    );
  return { items, show };
};

// The dialog of a conversation; `who` can open its links: "users" or "anyone".
export const open = (item, who) => {
  const refusal = h("p", { class: "refusal", role: "alert" });
  const attempt = async (action) => {
    refusal.replaceChildren();
    try {
      await action();
    } catch (error) {
      refusal.textContent = error.message;
    }
  };
  const list = shareList(attempt, (share) => share.conversationId === item.id);
  const result = h("div", { class: "new-share", role: "status" });
  const days = h(
    "select",
    {},
    Object.entries(DAYS).map(([value, words]) => h("option", { value, selected: value === "7" }, words)),
  );
  const make = async () => {
    const last = opened.id === item.id && opened.entries.at(-1);
    const seen = last ? { id: last.id, revision: last.revision } : null;
    const { path } = await call("POST", pathOf(item.id, "/shares"), { days: Number(days.value), seen });
    const address = new URL(path, document.baseURI).href;
    const box = h("input", { type: "text", readonly: true, dir: "ltr", value: address, "aria-label": t("Link") });
    box.addEventListener("focus", () => box.select());
    result.replaceChildren(
      h("p", {}, t("The link is ready. It is shown only this once.")),
      box,
      h(
        "div",
        { class: "row" },
        h("button", { type: "button", class: "primary", onclick: () => copyText(address, t("Link copied.")) }, t("Copy link")),
      ),
    );
    box.focus();
    await list.show();
  };
  const isLoaded = opened.id === item.id && !opened.earlier;
  const mayHaveDocuments = !isLoaded || opened.entries.some(({ documents }) => documents?.length);
  const title = t("Share a copy");
  const dialog = h(
    "dialog",
    { id: "share", "aria-label": title },
    h(
      "header",
      {},
      h("h2", {}, title),
      iconButton("close", t("Close"), () => dialog.close()),
    ),
    h(
      "p",
      {},
      t("The link shows this conversation as it is now, with its pictures and without your name. What you write later is not in it."),
      " ",
      mayHaveDocuments && [t("Of documents it shows their names and what answers quote from them, but not their texts."), " "],
      readers(who),
    ),
    refusal,
    h("label", {}, h("span", {}, t("The link works for")), days),
    h("div", { class: "row" }, h("button", { type: "button", class: "primary", onclick: () => attempt(make) }, t("Make a link"))),
    result,
    h("h3", {}, t("Links to this conversation")),
    list.items,
  );
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  attempt(list.show);
};
