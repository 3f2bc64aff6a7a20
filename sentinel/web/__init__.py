"""For people and probes."""
