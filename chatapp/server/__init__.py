"""Uvicorn's side: connections, open files, the metrics endpoint."""
