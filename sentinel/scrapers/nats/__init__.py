"""NATS: what its servers' monitoring ports say, and what JetStream tells of by itself."""
