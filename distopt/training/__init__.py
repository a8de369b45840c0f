"""Everything that computes and is the same in every launcher: experiment, workers, server, evaluation."""
