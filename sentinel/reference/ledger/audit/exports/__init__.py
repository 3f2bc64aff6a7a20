"""Exports of a tenant's part of the trail: made beside the audit, by a process that has no key to sign with."""

from sentinel.reference.ledger.audit.exports.exporter import Exporter, ExporterConfig

__all__ = ["Exporter", "ExporterConfig"]
