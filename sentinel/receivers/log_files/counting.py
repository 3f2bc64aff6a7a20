"""What reading files comes to in metrics: files and what waits in them, lines, bytes, and what went wrong."""

from __future__ import annotations

from collections.abc import Sequence

from sentinel.core.normalise.logs.reader import LogsRead
from sentinel.receivers.log_files.catching_up import Arrears
from sentinel.receivers.log_files.config import LogFilesConfig
from sentinel.receivers.log_files.followed import FollowedFile
from sentinel.receivers.log_files.reading import Reading
from sentinel.receivers.log_files.shipping import Shipping
from sentinel.runtime.component import Surroundings
from sentinel.runtime.flow import Flow, FlowReason, FlowStage
from sentinel.runtime.otlp_reply import OtlpSignal


class Counting:
    """Counts for one component; what it has counted is begun anew where it was noted."""

    def __init__(self, config: LogFilesConfig, flow: Flow, surroundings: Surroundings) -> None:
        self._config = config
        self._flow = flow
        self._metrics = surroundings.metrics
        self._logger = surroundings.logger
        self._was_unsaved = False

    def looked(
        self, reading: Reading, shipping: Shipping, arrears: Sequence[Arrears], now_ns: int
    ) -> None:
        """Show what a look for files found, and what endpoints wait for."""
        metrics, following = self._metrics, reading.following
        for source in self._config.sources:
            count = sum(file.source == source.name for file in reading.files)
            metrics.set("sentinel_log_files", count, source=source.name)
        for reason in ("denied", "circular", "limit"):
            metrics.set("sentinel_log_files_refused", following.refused[reason], reason=reason)
        lag_bytes = sum(file.lag_bytes() for file in reading.files if file.is_open)
        metrics.set("sentinel_log_files_lag_bytes", lag_bytes)
        behind = {one.endpoint: one for one in arrears}
        for name in shipping.endpoints:
            one = behind.get(name)
            size_bytes, age_s = (
                (one.size_bytes, (now_ns - one.since_ns) / 1e9) if one else (0, 0.0)
            )
            metrics.set("sentinel_log_files_unshipped_bytes", size_bytes, endpoint=name)
            metrics.set("sentinel_log_files_unshipped_seconds", max(age_s, 0.0), endpoint=name)
        for event, count in following.events.items():
            metrics.count("sentinel_log_file_events_total", count, event=event)
        following.events.clear()

    def troubles(self, reading: Reading) -> None:
        """Count what could not be read or stored; that nothing is stored is said once."""
        if reading.unsaved_count:
            if not self._was_unsaved:
                self._logger.warning(
                    "Positions of log files could not be stored", exc_info=reading.unsaved
                )
            self._metrics.count("sentinel_log_files_unsaved_total", reading.unsaved_count)
            self._flow.error(FlowStage.STORE, FlowReason.FAULT, reading.unsaved_count)
        self._was_unsaved = reading.unsaved is not None
        self._flow.error(FlowStage.READ, FlowReason.FAULT, reading.unreadable_count)
        reading.unsaved_count = reading.unreadable_count = 0

    def read(
        self, file: FollowedFile, read: LogsRead, count: int, *, lost: FlowReason | None
    ) -> None:
        """Count so many lines that were handed on, or why they were not; and note whose calls they told of."""
        self._flow.received(count, signal=OtlpSignal.LOGS.value)
        if lost is None:
            self._flow.sent(read.batch.sample_count, signal=OtlpSignal.LOGS.value)
        else:
            self._flow.dropped(lost, read.batch.sample_count)
        self._flow.rejected(read.batch.rejected)
        if lost is FlowReason.DUPLICATE:
            # Of what is left out nothing is known: were it heard, its silence would be an outage.
            file.tells_of_calls -= read.tells_of_calls
        else:
            file.tells_of_calls |= read.tells_of_calls
        self._changed(file, "undecodable", read.undecodable_count)
        self._changed(file, "not_json", read.not_json_count)

    def changes(self, file: FollowedFile) -> None:
        """Count the bytes that were read of a file, and what was made of its lines since this was counted last."""
        counts = file.counts
        self._changed(file, "cut", counts.cut_lines + file.joiner.cut_count)
        self._changed(file, "unfinished", counts.unfinished)
        self._metrics.count("sentinel_log_file_bytes_total", counts.bytes_read, source=file.source)
        counts.cut_lines = counts.unfinished = counts.bytes_read = file.joiner.cut_count = 0

    def _changed(self, file: FollowedFile, reason: str, count: int) -> None:
        if count:
            self._metrics.count(
                "sentinel_log_lines_changed_total", count, source=file.source, reason=reason
            )
