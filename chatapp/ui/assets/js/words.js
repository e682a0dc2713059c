// Translates every sentence into the reader's language. The code has the English; the others are in locales/.
import { RIGHT_TO_LEFT } from "./text_direction.js";

const root = document.documentElement;
export const language = root.lang;
const isRightToLeft = root.dir === "rtl";
export const LANGUAGES = { en: "English", he: "עברית", ar: "العربية" };

const fetchCatalogue = async (part) => {
  const response = await fetch(new URL(`../locales/${language}.${part}.json`, import.meta.url)).catch(() => null);
  return response?.ok ? response.json() : null;
};
const catalogue = language === "en" ? {} : (await fetchCatalogue("first")) || {};

// Rare sentences are fetched when the first of them is needed, and again after a failure.
let rest = null;
export const loadAllTranslations = () => {
  if (language !== "en")
    rest ||= fetchCatalogue("rest").then((more) => (more ? Object.assign(catalogue, more) : (rest = null)));
  return rest;
};

const isUntranslated = (it) =>
  Boolean(it) &&
  typeof it === "object" &&
  ((it.template && !(it.template in catalogue)) || Object.values(it).some(isUntranslated));

// Parse JSON of the server, after loading the translations of the sentences in it.
export const parseJson = async (text) => {
  const it = JSON.parse(text);
  if (language !== "en" && text.includes('"template"') && isUntranslated(it)) await loadAllTranslations();
  return it;
};

const tag = language === "ar" ? "ar-u-nu-latn" : language; // the digits of the rest of the page
const numbers = new Intl.NumberFormat(tag, { maximumFractionDigits: 2 });
export const number = (value) => numbers.format(value);

const percents = new Intl.NumberFormat(tag, { style: "percent" });
export const percent = (share) => percents.format(share);

const UNITS = { second: 1, minute: 60, hour: 3600 }; // seconds
const unitOf = (seconds) => (seconds < 60 ? "second" : seconds < 7200 ? "minute" : "hour");

// How long something takes or lasts: "5 minutes", with the right plural in each language.
export const duration = (seconds) => {
  const unit = unitOf(seconds);
  const format = new Intl.NumberFormat(tag, { style: "unit", unit, unitDisplay: "long", maximumFractionDigits: 1 });
  return format.format(seconds / UNITS[unit]);
};

// The short form of one kilobyte has the unit first in Hebrew (CLDR 44): the number stands where that of 12 does.
export const fileSize = (bytes) => {
  const [unit, size] = bytes < 1e6 ? ["kilobyte", Math.max(1, bytes / 1e3)] : ["megabyte", bytes / 1e6];
  const maximumFractionDigits = unit === "megabyte" && size < 10 ? 1 : 0;
  const shown = new Intl.NumberFormat(tag, { maximumFractionDigits }).format(size);
  return new Intl.NumberFormat(tag, { style: "unit", unit }).format(12).replace("12", shown);
};

// An amount in US dollars, a number or formatted, which reads left to right in every language.
export const money = (dollars) => {
  const text = `$${typeof dollars === "number" ? number(dollars) : dollars}`;
  return isRightToLeft ? `\u2066${text}\u2069` : text;
};

// A name in a sentence: neither turns the other around.
export const isolated = (name) => (isRightToLeft || RIGHT_TO_LEFT.test(name) ? `\u2068${name}\u2069` : name);

const value = (it) => {
  if (typeof it === "number") return number(it);
  // A sentence within a sentence has the page's direction even if it begins with a Latin name.
  const isSentence = typeof it === "object" && (it.template || it.translated);
  if (isSentence) return isRightToLeft ? `\u2067${translated(it)}\u2069` : translated(it);
  if (it.names) return it.names.map(isolated).join(language === "ar" ? "، " : ", ");
  return isolated(typeof it === "object" ? translated(it) : it);
};

// Translate a sentence, and fill in its {names}.
export const t = (template, values = {}) =>
  (catalogue[template] ?? template).replace(/\{(\w+)\}/g, (whole, name) =>
    name in values ? value(values[name]) : whole,
  );

// Translate a text of the server: {text, template, values}, {text, seconds} for a time to wait, {text, duration} in
// seconds, {text, names}, or plain text. {translated} is a text of the page that already is in the reader's language.
export const translated = (it) => {
  if (!it) return "";
  if (typeof it === "string") return it;
  if (it.translated) return it.translated;
  if (it.duration !== undefined) return duration(it.duration);
  if (it.seconds) return relativeTime(it.seconds);
  return it.template ? t(it.template, it.values || {}) : it.text || "";
};

const DAY = 86_400_000;
const midnight = (ms) => new Date(ms).setHours(0, 0, 0, 0);
const months = new Intl.DateTimeFormat(tag, { month: "long", year: "numeric" });
const relativeTimes = new Intl.RelativeTimeFormat(tag, { numeric: "auto" });
const dateTimes = new Intl.DateTimeFormat(tag, { dateStyle: "medium", timeStyle: "short" });
export const dateTime = (ms) => dateTimes.format(ms);

// How long until something: "in 12 minutes". In the units of Wait, in chatapp/domain/sentences.py.
const relativeTime = (seconds) => {
  const unit = unitOf(seconds);
  const words = relativeTimes.format(Math.ceil(seconds / UNITS[unit]), unit);
  return words.replace(/ \(\d+\)$/, ""); // in Hebrew it is "in an hour (1)"
};

const capitalized = (words) => words.charAt(0).toLocaleUpperCase(tag) + words.slice(1);

// The day that a list groups by: today, yesterday, the last week, the last month, then months.
export const dayGroup = (ms) => {
  const days = Math.round((midnight(Date.now()) - midnight(ms)) / DAY);
  if (days < 2) return capitalized(relativeTimes.format(-Math.max(days, 0), "day"));
  if (days < 8) return t("Last 7 days");
  if (days < 31) return t("Last 30 days");
  return months.format(ms);
};

export const minutesSince = (ms) => Math.max(0, Math.floor((Date.now() - ms) / 60_000));
