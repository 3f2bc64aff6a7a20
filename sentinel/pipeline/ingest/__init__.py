"""From batches to closed windows."""

from sentinel.pipeline.ingest.config import IngestConfig
from sentinel.pipeline.ingest.ingest import HandedOn, Ingest, Window, WindowStage

__all__ = ["HandedOn", "Ingest", "IngestConfig", "Window", "WindowStage"]
