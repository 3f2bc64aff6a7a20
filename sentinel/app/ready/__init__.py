"""What of a configuration is reachable from here, and why not: `sentinel check ready --config`."""

from sentinel.app.ready.look import look

__all__ = ["look"]
