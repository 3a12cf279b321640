"""One training from its options to a registered version."""
