(id) => {
  // The address names the open conversation, so that a reload comes back to it.
  const address = new URL(location.href);
  if (id) address.searchParams.set("c", id);
  else address.searchParams.delete("c");
  if (address.href !== location.href) history.replaceState(history.state, "", address);
}
