"""Numerics without domain words."""
