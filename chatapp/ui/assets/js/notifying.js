// A notification when an answer ends while its tab is hidden. Off until the person turns it on; it has no text of the
// conversation, because others may see the screen.
import { store, stored } from "./browser_storage.js";
import { onChange, open } from "./conversation.js";
import { openConversation } from "./navigation.js";
import { t } from "./words.js";

const SETTING = "notify";

const permission = () => window.Notification?.permission || "unsupported";
export const isOn = () => stored("local", SETTING) === "yes" && permission() === "granted";

// Turn notifications on or off; the browser is asked only now. Returns why they stay off, "" if it was done.
export const turn = async (on) => {
  if (!on) return (store("local", SETTING, ""), "");
  if (permission() === "unsupported") return t("This browser has no notifications for this page.");
  if ((await window.Notification.requestPermission()) !== "granted")
    return t("The browser does not allow notifications of this page. Allow them in the browser's settings for this site.");
  store("local", SETTING, "yes");
  return "";
};

const notifyOf = (id) => {
  const options = { body: t("The answer is ready."), tag: id, icon: document.querySelector('link[rel="icon"]')?.href };
  const notification = new window.Notification(t("Hybrid chat"), options);
  notification.onclick = () => {
    window.focus();
    if (open.id !== id) openConversation(id);
    notification.close();
  };
};

export const start = () =>
  onChange((what) => {
    if (what !== "answered" || !document.hidden || !isOn()) return;
    try {
      notifyOf(open.id);
    } catch {} // Chrome on Android shows them from a service worker only
  });
