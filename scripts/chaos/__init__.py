"""Training on real processes that are killed, stopped and cut off: `make chaos`, and shared parts of its tests."""
