"""Watching models in use, and renewing them: monitor, gate, retrain, cost."""
