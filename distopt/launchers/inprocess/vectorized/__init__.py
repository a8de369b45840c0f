"""The engine for small replicas: many windows at once, of one run or of several that differ in the seed."""
