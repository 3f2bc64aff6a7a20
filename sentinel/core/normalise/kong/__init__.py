"""What Kong tells of itself, in each of its ways: metrics page, http-log and file-log."""
