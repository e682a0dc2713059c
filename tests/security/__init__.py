"""Who gets at what: every address of the chat, asked by everybody who should not, and by programs that mean no good."""
