"""Speed as ratios, interleaved in one run; each file says how it is called."""
