"""Past data, read and written."""
