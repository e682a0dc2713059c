"""A user's data as a whole: export, import, deletion, and merging a guest's history (see docs/move.md)."""
