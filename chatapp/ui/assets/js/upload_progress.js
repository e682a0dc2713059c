// A `fetch` for files that tells how much is sent: `onShare(share)`, from 0 to 1. (The browser's own does not.)
export const sendTelling = (onShare) => (path, { method, headers, body, signal }) =>
  new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const stop = () => request.abort();
    request.open(method, path);
    Object.entries(headers).forEach(([name, value]) => request.setRequestHeader(name, value));
    request.upload.addEventListener("progress", ({ loaded, total }) => total && onShare(loaded / total));
    request.addEventListener("load", () => {
      const told = ["content-type", "retry-after", "x-request-outcome"];
      const responded = told.map((name) => [name, request.getResponseHeader(name)]).filter(([, value]) => value !== null);
      resolve(new Response(request.responseText, { status: request.status, headers: responded }));
    });
    request.addEventListener("error", () => reject(new TypeError("no response")));
    request.addEventListener("abort", () => reject(new DOMException("stopped", "AbortError")));
    signal?.addEventListener("abort", stop);
    request.addEventListener("loadend", () => signal?.removeEventListener("abort", stop));
    if (signal?.aborted) reject(new DOMException("stopped", "AbortError"));
    else request.send(body);
  });
