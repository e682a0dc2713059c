"""Histories from elsewhere, brought into this chat by commands for whoever runs it: see docs/move.md."""
