"""The commands of `sentinel-ledger`: a module for each subject, composed into one grammar."""

from __future__ import annotations

from sentinel.reference.ledger.operate.cli.main import build_parser, run

__all__ = ["build_parser", "run"]
