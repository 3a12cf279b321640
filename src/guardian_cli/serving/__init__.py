"""What runs inside an endpoint: self-contained, it imports nothing of guardian but itself."""
