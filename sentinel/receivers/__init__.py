"""Data is given to us."""
