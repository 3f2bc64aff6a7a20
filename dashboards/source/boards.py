"""All boards, by the name of their file."""

from __future__ import annotations

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from dashboards.source import (
    fleet,
    health,
    incident,
    ledger,
    nats,
    pages,
    postgres,
    series,
)
from dashboards.source.frame import Board

SOURCES = (fleet, series, incident, ledger, nats, postgres, health, pages)


def boards() -> list[Board]:
    """Every board, in the order of the documents."""
    return [source.board() for source in SOURCES]


def texts() -> dict[str, str]:
    """The text of every file, by name: the same bytes for the same code."""
    encoder = JSONEncoder(sort_keys=True, indent=2, ensure_ascii=False)
    return {f"{board.uid}.json": encoder.encode(board.build()) + "\n" for board in boards()}
