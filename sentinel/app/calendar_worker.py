"""The child that looks a country up: `python -I -m sentinel.app.calendar_worker`, a request on stdin, what is wrong on stdout."""

from __future__ import annotations

import json
import sys

from sentinel.app.calendars import CalendarError, holidays_of

_REQUEST_BYTES_MAX = 4_096
_YEARS = range(2025, 2027)
"""Any: whether a country is known does not depend on it."""


def main() -> int:
    """Say nothing when holidays are known, else one line."""
    request = json.loads(sys.stdin.buffer.read(_REQUEST_BYTES_MAX))
    try:
        holidays_of(request["country"], request["subdivision"], _YEARS)
    except CalendarError as error:
        sys.stdout.write(f"{error}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
