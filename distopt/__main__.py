"""`python -m distopt` does what the command `distopt` does."""

from distopt.cli import main

raise SystemExit(main())
