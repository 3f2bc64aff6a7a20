"""The one place that takes secrets out of text."""
