"""Running the ledger: its processes, its servers, its load, its history and its faults."""
