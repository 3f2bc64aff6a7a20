"""What every component stands on: lifecycle, tasks, queues, clock, back-off, metrics, logging, HTTP."""
