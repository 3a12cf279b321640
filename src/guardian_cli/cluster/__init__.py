"""Scanning on a Ray cluster: sources go to nodes, results come back."""
