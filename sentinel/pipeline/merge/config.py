"""What a user may set about merging windows of collectors."""

from __future__ import annotations

from dataclasses import dataclass

from sentinel.runtime.settings import ByteSize, Duration, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeConfig:
    """How parts of windows are waited for and kept."""

    wait: Duration = setting(
        Duration(5.0),
        help="How long a window waits for collectors beyond `series.lateness`; it is closed at once when all have told.",
        restart=True,
    )
    gone_after: Duration = setting(
        Duration(3600.0),
        help="A collector that is blind for so long is let go: what it told of counts as gone. One that takes its place lets"
        " it go at once.",
        restart=True,
    )
    grace: Duration = setting(
        Duration(30.0),
        help="How long collectors have after a start of the scorer to bring what they have kept meanwhile.",
        restart=True,
    )
    keep: Duration = setting(
        Duration(900.0),
        help="How long parts of decided windows are kept, so that counters have a number before the first after a restart.",
        restart=True,
    )
    parts_max: ByteSize = setting(
        ByteSize(512 << 20),
        help="Most bytes of parts on disk; those of decided windows give way first, then collectors are told to come back.",
        restart=True,
    )
    collectors_max: int = setting(1000, help="Most collectors at once.", restart=True)

    def __post_init__(self) -> None:
        for name in ("wait", "gone_after", "grace", "keep", "collectors_max"):
            if getattr(self, name) <= 0:
                msg = f"{name} must be above 0"
                raise ValueError(msg)
        if self.parts_max < 1 << 20:
            msg = "parts_max must be at least 1MiB"
            raise ValueError(msg)
        if self.wait > 300.0:
            msg = "wait must be at most 5m: windows are decided that much later while a collector is silent"
            raise ValueError(msg)
