"""A queue on disk, for what must reach another system whatever becomes of it or of us."""
