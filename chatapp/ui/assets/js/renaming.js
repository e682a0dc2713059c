// Renames in place: a conversation in its row of the list or in the header, a collection in its row. A redraw leaves the box where it is.
import { find, h } from "./dom.js";
import { t } from "./words.js";

let current = null; // {box, finish} while a name is typed
export const isRenaming = () => Boolean(current);
// End it as a click elsewhere does: with the name that was typed.
export const finishRenaming = () => current?.finish(true);

// Show a box in `place`, whose other content is hidden meanwhile. `save(title)` gets a changed name; `done()` is called
// at the end in any case.
export const renameIn = (place, title, { save, done, label = t("Title"), most = 200 }) => {
  finishRenaming();
  const box = h("input", { value: title, maxlength: most, dir: "auto", "aria-label": label });
  const finish = (isSaved, isByKey = false) => {
    if (current?.box !== box) return;
    current = null; // first: removing the box is a blur as well
    box.remove();
    place.classList.remove("renaming");
    const now = box.value.trim();
    done();
    if (isByKey) find("a, button", place)?.focus();
    if (isSaved && now && now !== title) save(now);
  };
  box.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== "Escape") return;
    event.preventDefault();
    finish(event.key === "Enter", true);
  });
  box.addEventListener("blur", () => document.activeElement !== box && finish(true)); // else the window lost the focus
  current = { box, finish };
  place.classList.add("renaming");
  place.append(box);
  box.focus();
  box.select();
};
