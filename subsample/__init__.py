"""Which training images are worth searching on: losses under mixing, and selection."""
