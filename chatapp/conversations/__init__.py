"""Use cases on stored conversations: list, search, rename, delete with undo, versions."""
