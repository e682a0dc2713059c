"""What the web needs around the page: health, and getting along with proxies."""
