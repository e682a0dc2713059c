// What a browser keeps, "local" or "session"; one that keeps nothing says so by an error.
export const kept = (kind, name) => {
  try {
    return window[`${kind}Storage`].getItem(name) || "";
  } catch {
    return "";
  }
};

export const keep = (kind, name, value) => {
  try {
    if (value) window[`${kind}Storage`].setItem(name, value);
    else window[`${kind}Storage`].removeItem(name);
  } catch {}
};
