// A part of the page of the service worker: opens the chat again as soon as it answers.
const { health } = document.querySelector("main").dataset;
const look = async () => {
  try {
    const { ok, type } = await fetch(health, { cache: "no-store", redirect: "manual" });
    if (ok || type === "opaqueredirect") location.reload(); // a redirect: of a proxy where people sign in
  } catch {} // not yet
};
setInterval(look, 3000);
addEventListener("online", look);
