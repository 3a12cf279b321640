"""All that runs in the decoder's own process, and only there."""
