// The service worker, which shows a page when the chat cannot be reached (service_worker.js). A chat that is not
// installable has no manifest; its page removes the worker of an earlier time.
import { find } from "./dom.js";
import { language } from "./words.js";

export const start = async () => {
  try {
    const scope = new URL("./", document.baseURI);
    if (find('link[rel="manifest"]')) {
      const script = new URL(`service-worker.js?language=${language}`, scope);
      await navigator.serviceWorker.register(script, { updateViaCache: "none" });
    } else {
      const registration = await navigator.serviceWorker.getRegistration(scope);
      if (registration?.scope === scope.href) await registration.unregister();
    }
  } catch {} // over plain HTTP there are no workers, and some browsers block them
};
