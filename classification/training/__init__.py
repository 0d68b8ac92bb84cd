"""The training loop of classifiers, its step, its schedules and what it records."""
