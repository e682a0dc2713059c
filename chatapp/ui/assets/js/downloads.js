// Downloads by script, which can say what went wrong. Those of conversations are POST requests: a link or a picture in an
// answer can request an address, too, but not with POST.
import { errorText, fetchApi, isSignedOut, options, Refusal } from "./api.js";
import { h } from "./dom.js";
import { t } from "./words.js";

const KEPT = 60_000; // ms until the file is released, which the browser has saved by then

// The name in the header Content-Disposition (RFC 6266).
const nameOf = (response) => {
  const [, name = ""] = /filename\*=UTF-8''([^;]+)/.exec(response.headers.get("content-disposition")) || [];
  return decodeURIComponent(name);
};

// Download and save a file of the API. Throws a Refusal with the error as text.
export const download = async (path, request = options("POST", {})) => {
  const response = await fetchApi(path, request).catch(() => null);
  if (!response)
    throw new Refusal(t("The chat is unreachable. Nothing was changed; try again in a moment."), 0);
  if (!response.ok) throw new Refusal(await errorText(response), isSignedOut(response) ? 401 : response.status);
  const file = await response.blob().catch(() => {
    throw new Refusal(t("The download was interrupted. Try again."), 0);
  });
  const address = URL.createObjectURL(file);
  h("a", { href: address, download: nameOf(response) }).click();
  setTimeout(() => URL.revokeObjectURL(address), KEPT);
};
