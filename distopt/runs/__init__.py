"""A run's folder: written as news arrive, read back, checkpointed; and which code computed it."""
