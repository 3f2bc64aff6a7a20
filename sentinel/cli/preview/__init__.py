"""`sentinel preview`: what would have been paged for, over a store, over files, or over a Prometheus."""
