"""Incidents and pages as JSON with a checksum."""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from sentinel.core.model import (
    Exemplar,
    FirstMover,
    Incident,
    IncidentKind,
    IncidentState,
    LogLine,
    Member,
    Page,
    PageReason,
    PageStatus,
    Resolution,
    SeriesKey,
    Severity,
    View,
)
from sentinel.errors import StoreCorruptError


def write_incidents(connection: sqlite3.Connection, incidents: Iterable[Incident]) -> None:
    """Store incidents, over earlier states of the same ones; inside a transaction."""
    for incident in incidents:
        payload = _encoded(incident)
        connection.execute(
            "INSERT INTO incidents (incident_id, opened_ns, state, crc, payload)"
            " VALUES (?, ?, ?, ?, ?) ON CONFLICT (incident_id) DO UPDATE SET"
            " opened_ns = excluded.opened_ns, state = excluded.state, crc = excluded.crc,"
            " payload = excluded.payload",
            (
                incident.incident_id,
                incident.opened_ns,
                incident.state,
                zlib.crc32(payload),
                payload,
            ),
        )


def read_incidents(
    connection: sqlite3.Connection, *, limit: int, open_only: bool
) -> tuple[list[Incident], int]:
    """The newest incidents, and how many more could not be read."""
    condition = "WHERE state = 'open'" if open_only else ""
    rows = connection.execute(
        "SELECT incident_id, crc, payload FROM incidents"  # noqa: S608  # one of two constants
        f" {condition} ORDER BY opened_ns DESC, rowid DESC LIMIT ?",
        (limit,),
    ).fetchall()
    found = []
    damaged_count = 0
    for incident_id, crc, payload in rows:
        try:
            found.append(decode_incident(incident_id, crc, payload))
        except StoreCorruptError:
            damaged_count += 1
    return found, damaged_count


def known_pages(connection: sqlite3.Connection, page_ids: Iterable[str]) -> frozenset[str]:
    """Those of the pages that are stored."""
    return frozenset(
        page_id
        for page_id in page_ids
        if connection.execute("SELECT 1 FROM pages WHERE page_id = ?", (page_id,)).fetchone()
    )


def decode_incident(incident_id: str, crc: int, payload: bytes) -> Incident:
    """The incident of a row.

    Raises:
        StoreCorruptError: it does not match its checksum.
    """
    fields = _decoded(f"incident {incident_id}", crc, payload)
    mover = fields["first_mover"]
    return Incident(
        **{
            **fields,
            "kind": IncidentKind(fields["kind"]),
            "severity": Severity(fields["severity"]),
            "state": IncidentState(fields["state"]),
            "resolution": Resolution(fields.get("resolution", Resolution.QUIET)),
            "members": tuple(
                Member(
                    **{
                        **member,
                        "key": SeriesKey(*member["key"]),
                        "views": View(member.get("views", 0)),
                    }
                )
                for member in fields["members"]
            ),
            "first_mover": None if mover is None else FirstMover(**mover),
            "exemplars": tuple(
                Exemplar(**{**exemplar, "key": SeriesKey(*exemplar["key"])})
                for exemplar in fields["exemplars"]
            ),
            "log_lines": tuple(LogLine(**line) for line in fields["log_lines"]),
        }
    )


def write_page(connection: sqlite3.Connection, page: Page) -> None:
    """Store a page; one that is already stored stays as it is. Inside a transaction."""
    payload = _encoded(page)
    connection.execute(
        "INSERT INTO pages (page_id, crc, payload) VALUES (?, ?, ?)"
        " ON CONFLICT (page_id) DO NOTHING",
        (page.page_id, zlib.crc32(payload), payload),
    )


def decode_page(page_id: str, crc: int, payload: bytes) -> Page:
    """The page of a row.

    Raises:
        StoreCorruptError: it does not match its checksum.
    """
    fields = _decoded(f"page {page_id}", crc, payload)
    return Page(
        **{
            **fields,
            "reason": PageReason(fields["reason"]),
            "status": PageStatus(fields["status"]),
        }
    )


def _encoded(value: Incident | Page) -> bytes:
    # The standard library's json and not a faster one: it writes NaN and infinity, and reads them back.
    return json.dumps(asdict(value), separators=(",", ":")).encode("ascii")


def _decoded(what: str, crc: int, payload: object) -> dict[str, Any]:
    if not isinstance(payload, bytes) or zlib.crc32(payload) != crc:
        msg = f"{what} does not match its checksum"
        raise StoreCorruptError(msg)
    fields: dict[str, Any] = json.loads(payload)
    return fields
