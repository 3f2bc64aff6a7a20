"""The pure core: decides without doing. No I/O, event loop, clock, randomness, environment or logging."""
