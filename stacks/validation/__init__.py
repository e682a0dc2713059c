"""Validation of the stack's settings: types of single values, conflicts between settings, error messages."""
