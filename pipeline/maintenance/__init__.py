"""Maintenance of a store: inventory, verification, cleaning."""
