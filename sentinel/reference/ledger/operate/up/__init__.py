"""`sentinel-ledger up`: a whole ledger with its servers, for one command to start and to stop."""

from __future__ import annotations

from sentinel.reference.ledger.operate.up.run import DEMO_TENANTS, UpConfig
from sentinel.reference.ledger.operate.up.running import run_up

__all__ = ["DEMO_TENANTS", "UpConfig", "run_up"]
