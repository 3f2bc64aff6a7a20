"""What belongs on a page."""
