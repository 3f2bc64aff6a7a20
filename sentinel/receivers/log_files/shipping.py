"""Lines on their way to `forward`: encoded, with the mark by which what comes again after a kill is known."""

from __future__ import annotations

from hashlib import blake2b

from sentinel.core.normalise.logs.reader import LogsRead
from sentinel.core.normalise.otlp_logs_encode import encode_logs_request
from sentinel.core.redact import redact
from sentinel.receivers.log_files.batches import Batch
from sentinel.receivers.log_files.followed import FollowedFile
from sentinel.receivers.log_files.positions import Unshipped
from sentinel.receivers.log_files.reading import Reading
from sentinel.runtime.intake.downstream import NO_TAP, Mark, Telemetry, TelemetryTap
from sentinel.runtime.otlp_reply import OtlpEncoding, OtlpSignal
from sentinel.runtime.receipt import Offered, Receipt

_RESOURCE_BYTES = 8192
"""More than what stands around the records of one service: its name, the file's, lengths."""
_SCOPE = "sentinel.log_files"
SLICE_COUNT = 64
"""Records that are offered as one payload."""


class Shipping:
    """Offers what was read to the tap."""

    def __init__(self, tap: TelemetryTap, reading: Reading) -> None:
        self._tap = tap
        self._reading = reading

    @property
    def is_on(self) -> bool:
        """Whether anybody is handed on to."""
        return self._tap is not NO_TAP

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Names of those that lines are handed on to and that may be without room, each for itself."""
        return self._tap.endpoints(OtlpSignal.LOGS)

    def is_wanted(self, file: FollowedFile, batch: Batch) -> bool:
        """Whether anybody is to get these lines now; those that are behind in the file get them when it is their turn."""
        if not self.is_on:
            return False
        endpoints = self.endpoints
        if batch.receipt is None:
            batch.receipt = Receipt(name for name in endpoints if name not in file.unshipped)
        return not endpoints or bool(batch.receipt.endpoints)

    async def queued(self) -> bool:
        """Whether all that was offered is where a kill does not reach it, or known to be refused."""
        return await self._tap.queued()

    def note_unshipped(self, file: FollowedFile, batch: Batch, now_ns: int) -> None:
        """Keep where those go on who did not take all of a batch."""
        receipt = batch.receipt
        if receipt is None:
            return
        receipt.void()
        for name in receipt.endpoints:
            taken = receipt.taken_count(name)
            if taken < receipt.offered_count:
                file.unshipped[name] = Unshipped(
                    start=batch.before, skip_count=taken, until=batch.after, since_ns=now_ns
                )

    def has_room(self, read: LogsRead) -> bool:
        """Whether what is to be shipped would be taken: a file waits better than it is dropped."""
        size_bytes = sum(
            _RESOURCE_BYTES + sum(map(len, records)) for records in read.encoded.values()
        )
        return not size_bytes or self._tap.has_room(OtlpSignal.LOGS, size_bytes)

    def ship(
        self, file: FollowedFile, uid: str, batch: Batch, read: LogsRead, receipt: Receipt | None
    ) -> None:
        """Offer what was encoded as one payload, whatever services it is of: its mark is true of all of it or none."""
        if not read.encoded:
            return
        bodies: list[bytes] = []
        for service, records in read.encoded.items():
            resource = {"service.name": service, "log.file.path": redact(file.path)}
            bodies.append(encode_logs_request(records, resource=resource, scope_name=_SCOPE))
        offered = None
        if receipt is not None and receipt.endpoints:
            receipt.offered_count = batch.handed_count
            offered = Offered(receipt=receipt, count=batch.handed_count)
        self._tap.offer(
            Telemetry(
                signal=OtlpSignal.LOGS,
                encoding=OtlpEncoding.PROTOBUF,
                # Requests are messages of repeated fields: one behind the other they are one request.
                body=b"".join(bodies),
                item_count=sum(map(len, read.encoded.values())),
                redacted=True,
                mark=self._mark(uid, batch),
                offered=offered,
            )
        )

    def _mark(self, uid: str, batch: Batch) -> Mark | None:
        """Up to which of its file's records a batch was handed on; None where a restart may count them otherwise.

        It counts them alike because it makes the same batches again, which it knows of by what was stored before.
        """
        if self._reading.unsaved is not None:
            return None
        return Mark(
            origin=blake2b(uid.encode(), digest_size=16).digest(),
            count=batch.before.record_count + batch.handed_count,
        )
