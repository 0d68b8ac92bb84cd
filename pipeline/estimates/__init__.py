"""What a run would cost, by running its stages briefly."""
