"""A private chat with several language models and one history."""
