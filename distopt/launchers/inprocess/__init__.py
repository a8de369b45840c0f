"""Training in one process: the loop, and two engines that apply updates in a given order."""
