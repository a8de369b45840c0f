"""Files: those that others wrote are read within bounds, ours are written whole or not at all."""
