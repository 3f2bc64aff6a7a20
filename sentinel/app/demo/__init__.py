"""The demo: a real pipeline runs, breaks and pages on one machine, in some 80 seconds where it has two cores to itself."""

from sentinel.app.demo.story import DemoOptions, DemoResult, run_demo

__all__ = ["DemoOptions", "DemoResult", "run_demo"]
