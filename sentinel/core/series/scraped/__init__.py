"""Pages of metrics, a whole page at a time: what their streams came to in a window."""
