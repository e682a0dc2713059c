"""Imports: conversations from the exports of other chats, and of this one (see docs/move.md).

A file is read as a stream, one conversation at a time, by `json_items` and `archive`; a module of `formats` converts it
to the neutral tree of `parsed`, `assembly` makes messages of that, and `importer` stores them. The whole file is
checked before anything is stored. This package knows nothing of HTTP.
"""
