// Values in the browser's storage, "local" or "session". A browser that blocks storage stores nothing and reads "".
export const stored = (kind, name) => {
  try {
    return window[`${kind}Storage`].getItem(name) || "";
  } catch {
    return "";
  }
};

export const store = (kind, name, value) => {
  try {
    if (value) window[`${kind}Storage`].setItem(name, value);
    else window[`${kind}Storage`].removeItem(name);
  } catch {} // blocked
};
