// At the sidebar's end: language, light or dark, and everything that is one's own.
import { find, h } from "./dom.js";
import { keep, kept } from "./kept.js";
import { deleteEverything } from "./sidebar.js";
import { change, onProfile, profile } from "./profile.js";
import { SHORTCUTS } from "./keys.js";
import { language, LANGUAGES, t } from "./words.js";

const chooser = (label, choices, chosen, onchoice) =>
  h(
    "label",
    {},
    h("span", {}, label),
    h(
      "select",
      { onchange: (event) => onchoice(event.target.value) },
      Object.entries(choices).map(([value, words]) => h("option", { value, selected: value === chosen }, words)),
    ),
  );

export const start = () => {
  const other = h("input", {
    type: "checkbox",
    onchange: (event) => change({ answerWithOther: event.target.checked }),
  });
  onProfile(() => (other.checked = profile.answerWithOther));
  find("#belongings").append(
    h(
      "details",
      { id: "settings" },
      h("summary", {}, t("Settings and your data")),
      chooser(t("Language"), LANGUAGES, language, (value) => (keep("local", "language", value), location.reload())),
      chooser(
        t("Appearance"),
        { "": t("As the system"), light: t("Light"), dark: t("Dark") },
        kept("local", "appearance"),
        (value) => (keep("local", "appearance", value), location.reload()),
      ),
      h(
        "label",
        { class: "check" },
        other,
        h("span", {}, t("Let another model answer while the chosen one is not ready")),
      ),
      h("a", { href: "export/everything.md.zip", download: true }, t("Download all conversations to read")),
      h("a", { href: "export/everything.json", download: true }, t("Download everything, complete")),
      h("button", { type: "button", class: "danger", onclick: deleteEverything }, t("Delete everything")),
      h(
        "details",
        {},
        h("summary", {}, t("Keys")),
        h(
          "dl",
          {},
          SHORTCUTS.map(([keys, words]) => [h("dt", {}, h("kbd", {}, keys)), h("dd", {}, words)]),
        ),
      ),
    ),
  );
};
