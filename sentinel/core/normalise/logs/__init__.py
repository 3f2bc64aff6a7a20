"""Lines of log files and containers to log records."""
