"""Reads the text of a document's file. Runs in the child process of `chatapp.documents.reader`.

The modules import each other relatively and nothing of the chat, because the child knows this folder alone. `shape` is
all that the chat itself imports, with `html_text`: no module of a format is loaded in the chat's process.
"""
