"""Commands of the `distopt` program, one module each; imported only when called."""
