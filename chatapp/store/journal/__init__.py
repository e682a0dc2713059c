"""A store in front of another one: local first, delivered to the cloud in the background."""
