"""Authorization, isolation between users, and robustness against malformed requests, for every route of the chat."""
