"""The audit trail's rules, without I/O: its entries' bytes, its tree, its checkpoints, its check."""
