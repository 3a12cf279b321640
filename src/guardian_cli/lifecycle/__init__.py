"""Champion, challenger, rollback: how a trained model gets traffic, on any platform."""
