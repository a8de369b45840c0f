"""Real processes: a parameter-server actor and worker actors on Ray. `launch` is the launcher, the rest its parts."""
