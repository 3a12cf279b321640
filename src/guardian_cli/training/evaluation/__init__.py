"""How good a network is, and what that is worth."""
