"""Artifacts and their cost: the store, its ledger, resuming, checksums."""
