// The stored profile: personas, answer settings, and whether another model may answer.
import { call, Refusal } from "./api.js";
import { showError } from "./notices.js";

export const profile = { personas: [], parameters: null, allowFallback: false, revision: 0 };
const listeners = new Set();
export const onProfile = (listener) => listeners.add(listener);

export const setProfile = (now) => {
  Object.assign(profile, now);
  listeners.forEach((listener) => listener());
};

const put = (changes) => {
  const { personas, parameters, allowFallback, revision } = { ...profile, ...changes };
  return call("PUT", "profile", { personas, parameters, allowFallback, revision: revision + 1 });
};

// Change the profile here and on the server, one change after the other; after a conflict, on top of the other change.
// `changesOf` returns what it changes in a profile: what another page added in the meantime stays.
let saving = Promise.resolve();
export const change = (changesOf) => {
  setProfile(changesOf(profile));
  saving = saving
    .then(async () => {
      try {
        setProfile({ revision: (await put(changesOf(profile))).revision });
      } catch (error) {
        if (!(error instanceof Refusal)) throw error;
        if (error.status !== 409) return showError(error.message);
        const { profile: theirs } = await call("GET", "state");
        const changes = changesOf(theirs);
        setProfile({ ...theirs, ...changes });
        setProfile(await put(changes));
      }
    })
    .catch((error) => showError(error.message));
  return saving;
};
