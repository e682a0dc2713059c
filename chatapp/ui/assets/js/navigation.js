// Opens conversations. Each has an address, for bookmarks, Back and a reload.
import { onChange, open, show } from "./conversation.js";
import { itemOf } from "./conversation_lists.js";
import { isSidebarOpen, messageBox, sidebarButton } from "./gradio_bridge.js";
import { scrollToMessage } from "./scrolling.js";

const CLEARED_BELOW = 769; // px: the sidebar covers the page there

export const addressOf = (id) => (id ? `c/${encodeURIComponent(id)}` : "./");
export const idInAddress = () => /\/c\/([A-Za-z0-9-]+)$/.exec(location.pathname)?.[1] || "";

export const openConversation = (id, options = {}) => {
  const { replace = false, isTemporary = false, folder = "", message = "", showThinking = false } = options;
  const address = new URL(addressOf(id), document.baseURI);
  if (address.href !== location.href) history[replace ? "replaceState" : "pushState"]({}, "", address);
  show(id, itemOf(id) || null, { isTemporary, folder });
  if (message) scrollToMessage(message, { showThinking });
  closeOnPhone();
  if (!message && matchMedia("(hover: hover)").matches) messageBox()?.focus();
};

const closeOnPhone = () => innerWidth < CLEARED_BELOW && isSidebarOpen() && sidebarButton()?.click();

export const start = () => {
  onChange((what) => {
    // A conversation has an address from its first message on.
    if (what === "item" && open.item && idInAddress() !== open.id)
      history.replaceState({}, "", new URL(addressOf(open.id), document.baseURI));
  });
  addEventListener("popstate", () => show(idInAddress(), itemOf(idInAddress()) || null));
  closeOnPhone();
};
