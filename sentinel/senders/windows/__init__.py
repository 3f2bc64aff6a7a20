"""Closed windows on their way to the service's scorer."""
