"""What a deployment or a rollback changes: planned as data, then carried out step by step."""
