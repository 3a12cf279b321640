"""The use-case behind `guardian scan`: sources in, verdicts with evidence out."""
