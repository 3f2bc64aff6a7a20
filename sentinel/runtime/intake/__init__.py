"""Whether what is pushed or pulled finds room: the way from bytes to the sink, what is under way, and what was turned away."""
