// Runs in the head, before Gradio: chooses the language, its direction and the appearance, and adapts the browser for
// Gradio 6.31. Each adaptation says when it can go.
(() => {
  // A browser that blocks storage throws where it is touched. Gradio's scripts get one that lasts as long as the page.
  const createStorage = () => {
    const items = new Map();
    return {
      getItem: (name) => items.get(String(name)) ?? null,
      setItem: (name, value) => void items.set(String(name), String(value)),
      removeItem: (name) => void items.delete(String(name)),
      clear: () => items.clear(),
      key: (at) => [...items.keys()][at] ?? null,
      get length() {
        return items.size;
      },
    };
  };
  for (const name of ["localStorage", "sessionStorage"])
    try {
      window[name].getItem("");
    } catch {
      try {
        Object.defineProperty(window, name, { value: createStorage(), configurable: true });
      } catch {} // it cannot be replaced
    }
  const stored = (name) => {
    try {
      return localStorage.getItem(name);
    } catch {
      return null;
    }
  };
  const supported = ["en", "he", "ar"];
  // Signing out empties the storage; the cookie stays.
  const prefix = location.protocol === "https:" ? "__Host-" : ""; // as in browser_storage.js
  const chosen = stored("language") || document.cookie.match(`(?:^|; )${prefix}language=(\\w+)`)?.[1];
  const preferred = [chosen, ...(navigator.languages || []), navigator.language, "en"];
  const language = preferred
    .map((tag) => (tag || "").split("-")[0].replace("iw", "he"))
    .find((tag) => supported.includes(tag));
  const root = document.documentElement;
  root.lang = language;
  root.dir = language === "en" ? "ltr" : "rtl";
  // Gradio takes its language from the browser. Can go when it takes it from the page.
  for (const [name, value] of [
    ["language", language],
    ["languages", [language]],
  ])
    Object.defineProperty(navigator, name, { get: () => value, configurable: true });

  const appearance = stored("appearance");
  if (appearance) {
    // Gradio takes light or dark from the system. Can go when it takes it from the page.
    const matches = matchMedia.bind(window);
    window.matchMedia = (query) =>
      query.includes("prefers-color-scheme")
        ? matches(query.includes(appearance) ? "all" : "not all")
        : matches(query);
    root.style.colorScheme = appearance;
    root.style.background = appearance === "dark" ? "#0b0f19" : "white";
  }
  // Gradio's loading indicator asks for a frame after each frame, also when it is gone. Measured: 12 % of a core for an
  // idle page, 1 to 2 % without (gradio 6.31). Its module keeps the function that it finds here, which does nothing once
  // Gradio has run an event. What runs later finds the browser's own in `window`. Can go when the indicator (Gradio's
  // StatusTracker) stops with its element.
  const requestFrame = window.requestAnimationFrame;
  let isLoading = true;
  window.requestAnimationFrame = (callback) => (isLoading ? requestFrame.call(window, callback) : 0);
  const endLoading = () => {
    if (isLoading) window.requestAnimationFrame = requestFrame;
    isLoading = false;
  };
  // The functions of main.js. Gradio's first event may come before the modules have run, and waits for them.
  window.chat = new Promise((resolve) => (window.provideChat = resolve));

  // Gradio compiles the `js` text of each event with this constructor, which the security policy forbids. This page's
  // texts are names of functions of `chat` (see `run_in_browser` in gradio_compat.py). Can go when Gradio takes
  // functions in place of text.
  const nameIn = /^return \(\n(\w+)\n\);$/;
  Object.defineProperty(
    Object.getPrototypeOf(async () => {}),
    "constructor",
    {
      value: function (text) {
        const name = nameIn.exec(text)[1];
        return async () =>
          async (...values) => {
            endLoading();
            return (await window.chat)[name](...values);
          };
      },
    },
  );
})();
