"""The process around the app: uvicorn, the limit of open files, and the metrics endpoint."""
