// Every sentence in the reader's language. English is what the code says; the others are in locales/.
const root = document.documentElement;
export const language = root.lang;
const isRightToLeft = root.dir === "rtl";
export const LANGUAGES = { en: "English", he: "עברית", ar: "العربية" };

const fetched = async (part) => {
  const response = await fetch(new URL(`../locales/${language}.${part}.json`, import.meta.url)).catch(() => null);
  return response?.ok ? response.json() : null;
};
const catalogue = language === "en" ? {} : (await fetched("first")) || {};

// What is seldom said is fetched when it is to be said for the first time, and once more if that did not succeed.
let rest = null;
export const allWords = () => {
  if (language !== "en")
    rest ||= fetched("rest").then((more) => (more ? Object.assign(catalogue, more) : (rest = null)));
  return rest;
};

const isUnknown = (it) =>
  Boolean(it) &&
  typeof it === "object" &&
  ((it.template && !(it.template in catalogue)) || Object.values(it).some(isUnknown));

// Read what the server sent, with the words for what it says in it.
export const parsed = async (text) => {
  const it = JSON.parse(text);
  if (language !== "en" && text.includes('"template"') && isUnknown(it)) await allWords();
  return it;
};

const tag = language === "ar" ? "ar-u-nu-latn" : language; // the digits of the rest of the page
const numbers = new Intl.NumberFormat(tag, { maximumFractionDigits: 2 });
export const number = (value) => numbers.format(value);

const value = (it) => {
  if (typeof it === "number") return number(it);
  const text = typeof it === "object" ? said(it) : it;
  return isRightToLeft ? `\u2068${text}\u2069` : text; // a Latin name must not turn a Hebrew sentence around
};

// Say a sentence; {names} in it are filled in.
export const t = (template, values = {}) =>
  (catalogue[template] ?? template).replace(/\{(\w+)\}/g, (whole, name) =>
    name in values ? value(values[name]) : whole,
  );

// Say what the server said: {text, template, values}, {text, seconds} for a time to wait, or plain text.
export const said = (it) => {
  if (!it) return "";
  if (typeof it === "string") return it;
  if (it.seconds) return wait(it.seconds);
  return it.template ? t(it.template, it.values || {}) : it.text || "";
};

const DAY = 86_400_000;
const midnight = (ms) => new Date(ms).setHours(0, 0, 0, 0);
const months = new Intl.DateTimeFormat(tag, { month: "long", year: "numeric" });
const relative = new Intl.RelativeTimeFormat(tag, { numeric: "auto" });
const moments = new Intl.DateTimeFormat(tag, { dateStyle: "medium", timeStyle: "short" });
export const moment = (ms) => moments.format(ms);

// How long until something: "in 12 minutes". In the units of Wait, in chatapp/domain/sentences.py.
const wait = (seconds) => {
  const [unit, length] = seconds < 60 ? ["second", 1] : seconds < 7200 ? ["minute", 60] : ["hour", 3600];
  const words = relative.format(Math.ceil(seconds / length), unit);
  return words.replace(/ \(\d+\)$/, ""); // in Hebrew it is "in an hour (1)"
};

const begun = (words) => words.charAt(0).toLocaleUpperCase(tag) + words.slice(1);

// The day that a list groups by: today, yesterday, the last week, the last month, then months.
export const day = (ms) => {
  const days = Math.round((midnight(Date.now()) - midnight(ms)) / DAY);
  if (days < 2) return begun(relative.format(-Math.max(days, 0), "day"));
  if (days < 8) return t("Last 7 days");
  if (days < 31) return t("Last 30 days");
  return months.format(ms);
};

export const minutesSince = (ms) => Math.max(0, Math.floor((Date.now() - ms) / 60_000));
