"""What it costs and how it grows."""
