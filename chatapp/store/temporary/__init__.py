"""Conversations that are kept in memory only."""
