"""What a run is taken away as, in the forms that other tools read: a form a module."""
