"""Runs: one from its configuration to its folder, sweeps of many, and going on with one that was cut off."""
