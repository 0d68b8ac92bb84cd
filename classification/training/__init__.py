"""The training loop of classifiers, its step, its schedules and its records."""
