"""Sentinel: learns what is normal for a pipeline and pages a person when it is not."""

__version__ = "0.1.0"
__all__ = ["__version__"]
