// Messages to this browser's other windows.

// Call `onMessage(data)` for each message of another window, and return a function that sends one. Without
// BroadcastChannel, which throws in a browser that blocks cookies, windows learn of changes when they are shown again.
export const channel = (name, onMessage) => {
  try {
    const messages = new BroadcastChannel(name);
    messages.onmessage = ({ data }) => onMessage(data);
    return (data) => messages.postMessage(data);
  } catch {
    return () => {};
  }
};
