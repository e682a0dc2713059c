"""The process around the app: its models, uvicorn, the limit of open files, and the metrics endpoint."""
