"""Asking targets again and again, a task and a place in the interval each; what a metrics page and a reach check share."""
