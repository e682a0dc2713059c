// The message box. It is Gradio's, which learns of a new text as of one that is typed: at once.
import { find } from "./dom.js";

export const box = () => find("#message textarea");
export const written = () => box()?.value || "";
export const write = (text) => {
  box().value = text;
  box().dispatchEvent(new Event("input", { bubbles: true }));
};
