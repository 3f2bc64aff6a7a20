"""What a user may set about the store."""

from __future__ import annotations

from dataclasses import dataclass

from sentinel.runtime.settings import ByteSize, Duration, setting

_DAY_S = 86_400.0
_MINUTE_NS = 60_000_000_000
_SIZE_BYTES_MIN = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreConfig:
    """Where the store is and how much it keeps."""

    directory: str = setting(
        "sentinel-store",
        help="Folder of the store; made with mode 0700 when it is missing. One process at a time.",
        restart=True,
    )
    max_bytes: ByteSize = setting(
        ByteSize(2 << 30),
        help="Ceiling on the database's size; the oldest and finest windows go first, pages never.",
    )
    reserve_bytes: ByteSize = setting(
        ByteSize(8 << 20),
        help="Disk space held back so that pages can still be stored when the disk is full.",
    )
    keep_finest: Duration = setting(
        Duration(7 * _DAY_S), help="How long windows under one minute are kept."
    )
    keep_1m: Duration = setting(
        Duration(30 * _DAY_S), help="How long windows of one minute are kept."
    )
    keep_5m: Duration = setting(
        Duration(400 * _DAY_S),
        help="How long windows of five minutes are kept; month-ends need more than a year.",
    )
    keep_histograms: Duration = setting(
        Duration(30 * _DAY_S), help="How long the hourly latency histograms are kept."
    )
    keep_upgrade_copy: Duration = setting(
        Duration(14 * _DAY_S),
        help="How long the copy is kept that is made before a newer version upgrades the store.",
    )

    def __post_init__(self) -> None:
        if not self.directory:
            msg = "directory must not be empty"
            raise ValueError(msg)
        if self.reserve_bytes < 0:
            msg = "reserve_bytes must not be negative"
            raise ValueError(msg)
        if self.max_bytes < max(_SIZE_BYTES_MIN, 2 * self.reserve_bytes):
            msg = "max_bytes must be at least 1MiB and twice reserve_bytes"
            raise ValueError(msg)
        for name in (
            *("keep_finest", "keep_1m", "keep_5m"),
            *("keep_histograms", "keep_upgrade_copy"),
        ):
            if getattr(self, name) <= 0:
                msg = f"{name} must be more than zero"
                raise ValueError(msg)

    def keep_ns(self, step_ns: int) -> int:
        """How long windows of this resolution are kept."""
        if step_ns < _MINUTE_NS:
            keep = self.keep_finest
        elif step_ns < 5 * _MINUTE_NS:
            keep = self.keep_1m
        else:
            keep = self.keep_5m
        return round(keep * 1e9)
