"""Configuration: environment variables to typed settings, and the format of the logs."""
