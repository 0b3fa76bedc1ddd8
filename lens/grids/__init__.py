"""A grid of runs: its file, its jobs, its tidy table, its tests of significance."""
