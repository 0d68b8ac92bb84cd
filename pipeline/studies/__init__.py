"""Studies: grids of runs over one store, executed here or on Ray."""
