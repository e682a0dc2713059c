// The service worker of the page; its pages come before it (chatapp/http/pages/installing.py). It stores nothing: no
// conversation, no response, no page. It only answers a navigation that cannot reach the chat.
//
// The browser sends each navigation itself, as a navigation preload, and hands its response to the worker. So the
// request keeps the headers (Fetch Metadata), the cookies and the redirects of a navigation: a request that a worker
// sends with `fetch(event.request)` has none of them, and the chat refuses it.
const unavailable = () => new Response(PAGES[new URL(location.href).searchParams.get("language")] || PAGES.en, RESPONSE);

// The response of a proxy whose chat does not answer. The chat's own pages have a policy.
const isOfProxy = ({ status, headers }) => [502, 503, 504].includes(status) && !headers.has("content-security-policy");

const opened = async ({ preloadResponse, request }) => {
  try {
    const response = (await preloadResponse) || (await fetch(request));
    return isOfProxy(response) ? unavailable() : response;
  } catch {
    return unavailable();
  }
};

addEventListener("install", (event) => {
  skipWaiting(); // a new version has no reason to wait: it has no state
  // Browsers that have this (Chromium) start no worker for anything but a navigation.
  const modes = ["cors", "no-cors", "same-origin"];
  const routes = modes.map((requestMode) => ({ condition: { requestMode }, source: "network" }));
  event.waitUntil(Promise.resolve(event.addRoutes?.(routes)).catch(() => {}));
});

// A browser without preloads gets no page from here.
if (registration.navigationPreload) {
  addEventListener("activate", (event) => event.waitUntil(registration.navigationPreload.enable()));
  addEventListener("fetch", (event) => {
    const { method, mode, destination } = event.request;
    if (mode !== "navigate" || method !== "GET") return;
    // Every preload is used: without `respondWith`, the browser would send the request again (w3c/ServiceWorker#1611),
    // and a sign-in comes back only once.
    event.respondWith(destination === "document" ? opened(event) : event.preloadResponse);
  });
}
