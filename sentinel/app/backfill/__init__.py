"""A backfill from end to end: a source of the past read beside the store that it goes into."""
