"""HTTP: the JSON API, middleware, pages without a script, static files and error responses."""
