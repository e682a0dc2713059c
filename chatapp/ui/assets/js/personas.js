// The persona of the conversation, and the button for the gallery, which is loaded when it is first opened.
import { loadModule } from "./api.js";
import { find, h, icon } from "./dom.js";
import { attempt } from "./notices.js";
import { current, onParameters } from "./parameters.js";
import { onProfile, profile } from "./profile.js";
import { t } from "./words.js";

let gallery = null;
const load = async () => (gallery ||= await loadModule("gallery"));

const chosen = () => [...(gallery?.GALLERY || []), ...profile.personas].find(({ id }) => id === current.persona);

const update = () => {
  const persona = chosen();
  if (current.persona && !persona && !gallery) attempt(async () => (await load(), update()));
  const name = persona?.name || (current.system_prompt ? t("Custom instructions") : "");
  const button = find("#persona");
  button.replaceChildren(
    ...[
      persona?.symbol ? h("span", { "aria-hidden": "true" }, persona.symbol) : icon("person"),
      name && h("bdi", {}, name),
    ].filter(Boolean),
  );
  button.classList.toggle("on", Boolean(name));
  const heading = find("#header .persona");
  if (heading) heading.textContent = name;
  button.setAttribute("aria-label", name ? t("Persona: {name}", { name }) : t("Personas"));
};

export const start = () => {
  document.body.append(h("dialog", { id: "personas", "aria-label": t("Personas") }));
  find("#tools .chat-tools").append(
    h("button", {
      type: "button",
      id: "persona",
      title: t("Personas"),
      onclick: () => attempt(async () => (await load()).open()),
    }),
  );
  onProfile(update);
  onParameters(update);
  update();
};
