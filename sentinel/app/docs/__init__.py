"""Documents that are written from the code: `python -m sentinel.app.docs [--check]`."""

from sentinel.app.docs.write import main, pages

__all__ = ["main", "pages"]
