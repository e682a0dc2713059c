"""A store before another one: local first, delivered to the cloud in the background."""
