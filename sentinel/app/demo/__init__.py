"""The demo: a real pipeline runs, breaks and pages, on one machine, in under two minutes."""

from sentinel.app.demo.story import DemoOptions, DemoResult, run_demo

__all__ = ["DemoOptions", "DemoResult", "run_demo"]
