// What the page says about an answer: facts in one line, and notes about what went wrong or was left out.
import * as models from "./models.js";
import { duration, money, number, t, translated } from "./words.js";

export const factsOf = (entry) => {
  if (entry.writing && entry.queuePosition)
    return [t("In the queue: position {place}", { place: entry.queuePosition })];
  if (entry.writing && entry.waitsFor) return [translated(entry.waitsFor)];
  if (entry.writing) return [entry.text ? t("Writing…") : t("Thinking…")];
  const round = (it, digits) => number(Number(it.toFixed(digits)));
  return [
    models.placeName(entry.place),
    entry.tokensIn != null && entry.tokensOut != null
      ? t("Tokens: {in} in, {out} out", { in: entry.tokensIn, out: entry.tokensOut })
      : entry.tokensOut != null && t("{out} tokens", { out: entry.tokensOut }),
    entry.secondsToFirstToken != null &&
      t("first token after {time}", { time: duration(Number(entry.secondsToFirstToken.toFixed(1))) }),
    entry.tokensPerSecond != null &&
      t("{rate} tokens/s", { rate: round(entry.tokensPerSecond, entry.tokensPerSecond < 10 ? 1 : 0) }),
    entry.cost != null && money(entry.cost < 0.01 ? entry.cost.toPrecision(2) : entry.cost.toFixed(2)),
    entry.column && entry.temperature != null && t("temperature {value}", { value: entry.temperature }),
    entry.status === "stopped" && t("stopped"),
  ].filter(Boolean);
};

export const notesOf = (entry) =>
  [
    entry.insteadOf &&
      t("{other} was unavailable, so {model} answered.", {
        other: models.labelOf(entry.insteadOf),
        model: models.labelOf(entry.label),
      }),
    entry.omitted &&
      t(
        "The conversation is longer than this model can read at once, so it did not read the beginning ({number} messages). It is still stored.",
        { number: entry.omitted },
      ),
    entry.notInDocuments && t("Not from your documents: this is what {model} knows itself.", { model: models.labelOf(entry.label) }),
    entry.passages &&
      t(
        "The documents are longer than this model can use well, so it read only the passages that fit the question best.",
      ),
    entry.passages &&
      entry.status === "complete" &&
      !entry.notInDocuments &&
      !entry.citations?.length &&
      t("The answer quotes nothing of the documents, so check it against them."),
    entry.unshownPictures > 0 && t("Pictures that cannot be shown here: {number}", { number: entry.unshownPictures }),
    entry.finish === "length" && t("The answer stopped at Max tokens. You can continue it."),
    entry.status === "interrupted" &&
      t("The chat restarted while this answer was being written. The text so far is stored; you can continue it."),
    entry.status === "error" && translated(entry.error),
  ].filter(Boolean);
