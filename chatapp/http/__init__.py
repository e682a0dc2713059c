"""What the web needs around the page: health, headers, and not being fooled."""
