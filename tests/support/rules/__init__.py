"""What the shipped alert rules are held against: recordings of the ledger's faults, promtool, and rules broken on purpose."""
