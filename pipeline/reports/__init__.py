"""What a run came to, as pages and as results.json."""
