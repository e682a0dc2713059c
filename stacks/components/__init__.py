"""One component of the deployment per module; each creates its resources and knows nothing of the settings."""
