"""Where windows, baselines, incidents and pages are kept."""
