"""Benchmarks: speed as ratios between variants interleaved in one run."""
