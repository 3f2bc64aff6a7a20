"""`python -m sentinel.app.docs [--check]`."""

from __future__ import annotations

import sys

from sentinel.app.docs import main

sys.exit(main())
