"""Parts of windows that collecting sidecars send to the scorer."""
