"""Runs: one from its configuration to its folder, sweeps of many, and resuming one that was cut off."""
