// Before anything is drawn: the language, its direction, and light or dark. Gradio takes its words by navigator.language.
(() => {
  const kept = (name) => {
    try {
      return localStorage.getItem(name);
    } catch {
      return null; // a browser that keeps nothing
    }
  };
  const known = ["en", "he", "ar"];
  const asked = [kept("language"), ...(navigator.languages || []), navigator.language, "en"];
  const language = asked.map((tag) => (tag || "").split("-")[0].replace("iw", "he")).find((tag) => known.includes(tag));
  const root = document.documentElement;
  root.lang = language;
  root.dir = language === "en" ? "ltr" : "rtl";
  for (const [name, value] of [
    ["language", language],
    ["languages", [language]],
  ])
    Object.defineProperty(navigator, name, { get: () => value, configurable: true });

  const appearance = kept("appearance");
  if (appearance) {
    // Gradio asks the system, and so does what it draws before it starts.
    const ask = matchMedia.bind(window);
    window.matchMedia = (query) =>
      query.includes("prefers-color-scheme") ? ask(query.includes(appearance) ? "all" : "not all") : ask(query);
    root.style.colorScheme = appearance;
    root.style.background = appearance === "dark" ? "#0b0f19" : "white";
  }
  // The scripts are modules, which run when all is there; Gradio's events wait for them by this.
  window.chat = new Promise((resolve) => (window.chatIsThere = resolve));

  // Gradio makes functions of the texts of its events, by this constructor, and the page's policy lets no text become
  // code. The texts of this page's events are names of what `chat` has.
  const nameIn = /^return \(\n(\w+)\n\);$/;
  Object.defineProperty(
    Object.getPrototypeOf(async () => {}),
    "constructor",
    {
      value: function (text) {
        const name = nameIn.exec(text)[1];
        return async () =>
          async (...values) =>
            (await window.chat)[name](...values);
      },
    },
  );
})();
