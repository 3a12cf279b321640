"""Evidence: static pages by which a person can check a verdict; they need no server."""
