"""The archive of the log and of base backups, and the drill that restores from it."""
