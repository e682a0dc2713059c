"""Backup and restore of the whole history, of all users: one file with a checksum (see docs/operate.md).

``python -m chatapp.backup`` and ``python -m chatapp.backup.restore`` are commands of the operator, without HTTP.
"""
