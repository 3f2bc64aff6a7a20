"""Kubernetes injection."""
