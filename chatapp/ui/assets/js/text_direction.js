// The direction of texts. No DOM here: the worker that renders messages uses it too.
export const RIGHT_TO_LEFT = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]/; // Hebrew, Arabic and their presentation forms
const RIGHT_TO_LEFT_LETTERS = new RegExp(RIGHT_TO_LEFT, "g");
const LETTERS = /\p{L}/gu;
const ENOUGH = 2000; // characters that decide

// The direction of a title. `auto` looks at the first letter only, and many Hebrew titles begin with a Latin name.
export const directionOf = (text) => (RIGHT_TO_LEFT.test(text) ? "rtl" : "ltr");

// The direction of a block of a message, by its letters. A paragraph mostly follows its first letter, as `auto` does,
// but not if most of it is in the other script. In a list or a table the first word says little about the rest.
export const directionOfBlock = (text, { isList = false } = {}) => {
  const start = text.slice(0, ENOUGH);
  const letters = start.match(LETTERS) || [];
  const share = (start.match(RIGHT_TO_LEFT_LETTERS) || []).length / letters.length;
  if (!letters.length || !share) return "ltr";
  if (isList) return share > 0.3 ? "rtl" : "ltr";
  return share > (RIGHT_TO_LEFT.test(letters[0]) ? 0.1 : 0.4) ? "rtl" : "ltr";
};
