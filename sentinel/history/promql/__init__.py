"""Past data from a server with Prometheus' query API; the reader is imported by the command alone."""
