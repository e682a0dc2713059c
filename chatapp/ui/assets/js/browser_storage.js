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

// Tell the sign-in page, which has no script, the language. Over HTTPS the prefix keeps other hosts of the domain out.
export const setLanguageCookie = (language) => {
  const [prefix, secure] = location.protocol === "https:" ? ["__Host-", "; Secure"] : ["", ""];
  document.cookie = `${prefix}language=${language}; Path=/; Max-Age=31536000; SameSite=Lax${secure}`;
};
