"""Tables over runs: groups of equal settings, intervals over seeds, a reference."""
