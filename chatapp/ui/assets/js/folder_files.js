// The files in dropped folders. Loaded with the first folder.
const MOST = 2_000; // files and folders that are looked at
const DEEPEST = 20; // folders within each other
// What systems and tools keep in folders, which no person means.
const IGNORED = /^(?:\..*|thumbs\.db|desktop\.ini|__macosx|node_modules|__pycache__)$/i;

export const isIgnored = (path) => path.split("/").filter(Boolean).slice(1).some((part) => IGNORED.test(part));

const promised = (entry, method) => new Promise((resolve, reject) => entry[method](resolve, reject));

// The entries of a folder, of which a browser tells at most 100 at a time.
const entriesOf = async (folder) => {
  const [reader, all] = [folder.createReader(), []];
  for (;;) {
    const some = await promised(reader, "readEntries");
    if (!some.length) return all.sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }));
    all.push(...some);
    if (all.length > MOST) return all;
  }
};

// All files in these entries, each with its {path}: {files: [{file, path}], unread: paths of what the browser cannot read,
// isCut: whether there are more than are looked at}.
export const filesOf = async (entries) => {
  const result = { files: [], unread: [], isCut: false };
  let room = MOST;
  const walk = async (entry, path, depth) => {
    if (room-- <= 0 || depth > DEEPEST) return (result.isCut = true);
    try {
      if (entry.isFile) return result.files.push({ file: await promised(entry, "file"), path });
      for (const inner of await entriesOf(entry))
        if (!IGNORED.test(inner.name)) await walk(inner, `${path}/${inner.name}`, depth + 1);
    } catch {
      result.unread.push(path);
    }
  };
  for (const entry of entries) await walk(entry, entry.name, 0);
  return result;
};
