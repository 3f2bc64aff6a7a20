"""Pages and data out."""
