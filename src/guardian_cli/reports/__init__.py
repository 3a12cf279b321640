"""How a finished scan is shown: one output format a file."""
