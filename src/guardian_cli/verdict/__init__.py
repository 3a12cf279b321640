"""From scores over time to a verdict: pure functions of numbers."""
