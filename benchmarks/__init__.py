"""Benchmarks: speed ratios of variants, interleaved in one run."""
