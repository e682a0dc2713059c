"""The chat's vocabulary: conversations, messages, errors, translatable sentences. Imports nothing else of the chat."""
