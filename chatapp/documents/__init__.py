"""Documents: reading files, cutting them into chunks, finding passages, and finding quotes in them.

Knows no model and no HTTP. A file is read in a child process (`reader`), never in this one.
"""
