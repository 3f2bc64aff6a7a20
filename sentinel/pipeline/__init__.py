"""The async shell round the core."""
