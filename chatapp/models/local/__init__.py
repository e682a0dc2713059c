"""Models that are downloaded with a person's consent, and then run on this computer by `chatapp.models.llamacpp`."""
