// Chooses the collection and the folder of a conversation.
import { patch } from "./conversation_actions.js";
import { open, setNewCollection } from "./conversation.js";
import { openFolderRow } from "./folders.js";
import { folderById } from "./library.js";
import { messageBox } from "./gradio_bridge.js";
import { showToast } from "./notices.js";
import { t } from "./words.js";

// Of the open conversation, or of the new one; "" for none.
export const chooseCollection = async (collection) => {
  if (open.id && open.item) await patch(open.item, { collection });
  else setNewCollection(collection);
  messageBox().focus();
};

export const moveToFolder = async (item, folder) => {
  const before = item.folder || "";
  if (folder === before || !(await patch(item, { folder }))) return;
  if (folder) openFolderRow(folder);
  const words = folder
    ? t("Moved to the folder {name}.", { name: folderById(folder)?.name || "" })
    : t("Removed from the folder.");
  showToast(words, { undo: () => patch(item, { folder: before }) });
};
