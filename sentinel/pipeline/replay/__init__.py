"""What was past, decided once more by the code that runs live: of series in files, and of the windows of a store.

`series` takes series from elsewhere, such as a file. `grid` lays them on time lines, `windows` says what of them a sidecar
would have watched, and `sidecar` or, for windows that no sidecar learns from, `midnight` lives through them. `stored` takes
the windows of a live run with its events (`stored_events`), so it decides what live decided. `rows`, `stops` and `stored_pages`
tell what came of either. Nothing here is loaded by the program that watches: `pipeline.replay_notes` is what that leaves for it.
"""

from sentinel.pipeline.replay.grid import PlainSeries
from sentinel.pipeline.replay.rows import ReplayedPage, ReplayedStop
from sentinel.pipeline.replay.series import Replayed, replay
from sentinel.pipeline.replay.stored import StorePreview, preview_store

__all__ = [
    "PlainSeries",
    "Replayed",
    "ReplayedPage",
    "ReplayedStop",
    "StorePreview",
    "preview_store",
    "replay",
]
