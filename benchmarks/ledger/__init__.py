"""The reference ledger under load, whole, on one machine: what starts it, what loads it, and what looks at its books."""
