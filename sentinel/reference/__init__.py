"""Reference systems that Sentinel watches; nothing in sentinel imports them."""
