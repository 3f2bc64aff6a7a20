"""Data and pages out, one file a kind of destination."""
