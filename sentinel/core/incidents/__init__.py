"""Verdict to incident to page."""
