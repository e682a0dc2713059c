"""The pages that the server renders itself: sign-in, errors, navigation."""
