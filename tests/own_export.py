"""Reads the JSON that a chat exports, as a test expects it: a text as a whole."""

import json

from chatapp.userdata import json_export


def read(text):
    """Return the conversations of an export.

    Raises:
        InvalidExport: with the conversation, message and field that is wrong.
    """
    conversations = json.loads(text)["conversations"]
    room = json_export.Room()
    return [json_export.validated(one, f"conversations[{number}]", room) for number, one in enumerate(conversations)]


def read_library(text):
    """Return the documents of collections of an export.

    Raises:
        InvalidExport: with the document and field that is wrong.
    """
    room = json_export.Room()
    documents = json.loads(text).get("library", [])
    return [
        json_export.validated_library_document(one, f"library[{number}]", room) for number, one in enumerate(documents)
    ]


def read_profile(text):
    """Return the profile of an export, None if it has none."""
    profile = json.loads(text).get("profile")
    return None if profile is None else json_export.validated_profile(profile)
