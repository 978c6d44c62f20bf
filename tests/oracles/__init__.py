"""Independent oracles: they read docs/specs.md only and share no code with the library."""
