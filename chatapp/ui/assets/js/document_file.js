// The content of a document's file that a person adds to a message or to a collection.
import { t } from "./words.js";

// Return it, in memory: the file may be moved or saved again before it is sent. Throws what to do with a file of more than
// `most` bytes, and with one that cannot be read, such as a folder.
export const contentOf = async (file, name, most) => {
  if (file.size > most) {
    const [size, megabytes] = [Math.ceil(file.size / 1e6), Math.floor(most / 1e6)];
    throw new Error(
      t(
        "{name} has {size} MB, and a document can have at most {most} MB. It was not added. Split it, or save it with smaller images, then add it again.",
        { name, size, most: megabytes },
      ),
    );
  }
  const content = await file.arrayBuffer().catch(() => null);
  if (!content) throw new Error(t("{name} could not be read, so it was not added. If it is a folder, add the files in it.", { name }));
  return content;
};
