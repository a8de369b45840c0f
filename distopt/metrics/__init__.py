"""Metrics of runs: pure functions on the frames `commits` and `evals`."""
