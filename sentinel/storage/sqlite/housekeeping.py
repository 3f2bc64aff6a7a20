"""The work that rides on windows: roll up, pack, thin out, bring in the log; each bounded, each again with a later one."""

from __future__ import annotations

from sentinel.core.model import WindowBlock
from sentinel.runtime.component import Surroundings
from sentinel.storage.sqlite import retention
from sentinel.storage.sqlite.access import Access
from sentinel.storage.sqlite.config import StoreConfig
from sentinel.storage.sqlite.connection import wal_bytes
from sentinel.storage.sqlite.damage import Damage
from sentinel.storage.sqlite.histograms import HistogramGatherer
from sentinel.storage.sqlite.session import Session
from sentinel.storage.windows import chunk_span_ns, roll_up_steps

_WAL_BYTES_MAX = 4 << 20
_TICKS_BETWEEN_FLUSHES = 30
_TICKS_BETWEEN_PASSES = 60
_SPANS_PACKED_AT_ONCE = 2
_PAGES_GIVEN_BACK_AT_ONCE = 2048
_SERIES_FORGOTTEN_AT_ONCE = 1000
_CEILING_SHARE = 0.95  # removal begins here, so that the file itself stays under the ceiling


class Housekeeping:
    """Keeps the file small, and coarser windows made."""

    def __init__(
        self, config: StoreConfig, access: Access, damage: Damage, surroundings: Surroundings
    ) -> None:
        self._config = config
        self._access = access
        self._damage = damage
        self._clock = surroundings.clock
        self._metrics = surroundings.metrics
        self._gatherer = HistogramGatherer()
        self._tick_count = 0
        self._is_over_ceiling = False

    @property
    def is_over_ceiling(self) -> bool:
        """Whether the ceiling on size is reached and nothing is left that may be removed."""
        return self._is_over_ceiling

    def after_tick(self, block: WindowBlock) -> None:
        """What is due after a window; a failure puts it off."""
        self._tick_count += 1
        self._access.attempt("housekeeping", lambda: self._keep_house(block))

    def after_history(self) -> None:
        """What is due after windows of the past."""
        self._damage.set_chunks_aside()
        if wal_bytes(self._access.path) > self._wal_bytes_max():
            self._access.attempt("checkpoint", self._access.checkpoint)
        self._access.attempt("retention", self._keep_under_ceiling)
        self._metrics.set("sentinel_store_bytes", self._access.size_bytes)

    def before_close(self) -> None:
        """Write what is held in memory, and bring in the write-ahead log."""
        self._access.attempt("flush", self._flush_histograms)
        self._access.attempt("checkpoint", self._access.checkpoint)

    def _keep_house(self, block: WindowBlock) -> None:
        self._damage.set_chunks_aside()
        given_up = self._gatherer.add(block)
        if given_up:
            self._metrics.count(
                "sentinel_store_dropped_windows_total", given_up, reason="histograms"
            )
        if self._access.has_room():
            self._roll_up(block)
            for step_ns in (block.step_ns, *roll_up_steps(block.step_ns)):
                self._pack(step_ns, now_ns=block.end_ns)
            if self._tick_count % _TICKS_BETWEEN_FLUSHES == 0:
                self._flush_histograms()
        if self._tick_count % _TICKS_BETWEEN_PASSES == 0:
            self._retire(block)
        self._keep_under_ceiling()
        if self._access.space.is_low or wal_bytes(self._access.path) > self._wal_bytes_max():
            self._access.checkpoint()
        self._damage.set_chunks_aside()
        self._metrics.set("sentinel_store_bytes", self._access.size_bytes)

    def _roll_up(self, block: WindowBlock) -> None:
        for step_ns, since_ns, until_ns in self._access.ready().due_roll_ups(block):

            def work(
                session: Session,
                step_ns: int = step_ns,
                since: int = since_ns,
                until: int = until_ns,
            ) -> None:
                session.put_roll_ups(
                    fine_ns=block.step_ns,
                    step_ns=step_ns,
                    since_ns=since,
                    until_ns=until,
                    on_damage=self._damage.note_chunk,
                )

            self._access.write("roll_up", work)
            self._access.ready().rolled_up_until_ns[step_ns] = until_ns

    def _pack(self, step_ns: int, *, now_ns: int) -> None:
        if now_ns % chunk_span_ns(step_ns) and self._tick_count % _TICKS_BETWEEN_PASSES:
            return  # spans end at multiples; in between only a gap can have left something
        self._access.write(
            "pack",
            lambda session: session.chunks.compact(
                before_span_of_ns=now_ns,
                step_ns=step_ns,
                limit=_SPANS_PACKED_AT_ONCE,
                on_damage=self._damage.note_chunk,
            ),
        )

    def _flush_histograms(self) -> None:
        self._access.write("flush", lambda session: self._gatherer.flush(session.connection))
        self._gatherer.clear()

    def _retire(self, block: WindowBlock) -> None:
        now_ns = self._clock.now_ns()
        oldest_ns = min(now_ns, block.end_ns) - round(self._config.keep_5m * 1e9)

        def work(session: Session) -> None:
            session.names.mark_seen(block.series.tolist(), now_ns=now_ns)
            retention.remove_expired(
                session.connection, self._config, now_ns=now_ns, on_retired=self._count_retired
            )
            session.names.forget(seen_before_ns=oldest_ns, limit=_SERIES_FORGOTTEN_AT_ONCE)
            session.chunks.drop_unused_layouts()

        self._access.write("retention", work)
        self._give_back_pages()
        self._access.remove_upgrade_copies(
            made_before_ns=now_ns - round(self._config.keep_upgrade_copy * 1e9),
            reason="it was kept long enough",
        )

    def _keep_under_ceiling(self) -> None:
        limit_bytes = int(self._config.max_bytes * _CEILING_SHARE)
        limit_bytes -= self._access.space.ballast_bytes
        used_bytes = self._access.read(
            "retention", lambda session: retention.used_bytes(session.connection)
        )
        if used_bytes + self._wal_bytes_max() <= limit_bytes:
            self._is_over_ceiling = False
            return
        removed = self._access.write(
            "retention",
            lambda session: retention.remove_over_ceiling(
                session.connection, self._config, on_retired=self._count_retired
            ),
        )
        self._is_over_ceiling = not removed
        if removed:
            self._give_back_pages()

    def _give_back_pages(self) -> None:
        self._access.read(
            "retention",
            lambda session: retention.give_back_pages(
                session.connection, page_count_max=_PAGES_GIVEN_BACK_AT_ONCE
            ),
        )

    def _wal_bytes_max(self) -> int:
        """How long the log may get; on a full disk the reserve must take in all of it and the pages."""
        held_bytes = self._access.space.ballast_bytes
        reserve_bytes = held_bytes or self._config.reserve_bytes or _WAL_BYTES_MAX
        return min(_WAL_BYTES_MAX, self._config.max_bytes // 8, reserve_bytes // 2)

    def _count_retired(self, label: str, count: int) -> None:
        self._metrics.count("sentinel_store_retired_chunks_total", count, step=label)
