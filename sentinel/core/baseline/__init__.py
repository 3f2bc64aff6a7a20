"""History to expectation."""
