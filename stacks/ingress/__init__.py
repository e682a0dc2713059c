"""How a browser reaches the chat: HTTPS or plain HTTP, address, certificate, and who may sign in."""
