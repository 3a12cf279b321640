"""What a scan keeps of its frames, and deciding again from it."""
