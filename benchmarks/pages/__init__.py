"""Every fault of the reference ledger beside a sidecar and beside static thresholds: `make bench-pages`."""
