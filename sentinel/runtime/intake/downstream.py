"""What receivers and scrapers hand to: the sink of samples, the tap that forwards, and who says what is shed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from sentinel.core.model import Rung
from sentinel.core.normalise.kong.twins import KongTwins
from sentinel.ports import PastSink, SampleSink
from sentinel.runtime.intake.inflight import Inflight
from sentinel.runtime.intake.owed import Owed
from sentinel.runtime.otlp_reply import OtlpEncoding, OtlpSignal
from sentinel.runtime.receipt import Offered


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """How far a payload reaches in what it was read from, so that it is known when it is read once more after a kill.

    Attributes:
        origin: 16 bytes that name what was read, the same after a restart.
        count: records of it up to and with this payload; never less than that of the payload before.
    """

    origin: bytes
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Telemetry:
    """One OTLP request's worth of telemetry, as it may be handed on.

    Attributes:
        signal: what it carries.
        encoding: how `body` is written.
        body: an export request, decompressed.
        item_count: spans, points or records in it.
        redacted: whether secrets were taken out already.
        mark: where it ends in what it was read from; None when it cannot be read again.
        offered: by what it is told who took it, where it can be offered again; else what finds no room is dropped.
    """

    signal: OtlpSignal
    encoding: OtlpEncoding
    body: bytes
    item_count: int
    redacted: bool
    mark: Mark | None = None
    offered: Offered | None = None


class TelemetryTap(Protocol):
    """Who hands telemetry on to other systems."""

    def endpoints(self, signal: OtlpSignal) -> tuple[str, ...]:
        """Names of those that a signal is handed on to, each of which may be without room when others have it."""
        ...

    def offer(self, payload: Telemetry) -> None:
        """Take a payload or give it up and count it; never blocks, never raises."""
        ...

    def has_room(self, signal: OtlpSignal, size_bytes: int) -> bool:
        """Whether a payload of this size would be taken now, for those who can hand it on later instead."""
        ...

    async def queued(self) -> bool:
        """Wait until all that was taken is where a kill of the process does not reach it, if such a place is used.

        For those who note that they are done with something only then. False when it took too long; never raises.
        """
        ...


class Shedding(Protocol):
    """Who says what is given up at the moment, because there is more than can be worked on."""

    def sheds(self, rung: Rung) -> bool:
        """Whether this is given up now; asking costs nothing."""
        ...


class _NoTap:
    def endpoints(self, signal: OtlpSignal) -> tuple[str, ...]:  # noqa: ARG002  # nothing is handed on
        """Nobody."""
        return ()

    def offer(self, payload: Telemetry) -> None:
        """Nothing is handed on."""

    def has_room(self, signal: OtlpSignal, size_bytes: int) -> bool:  # noqa: ARG002  # nothing is handed on
        """Nothing is turned away."""
        return True

    async def queued(self) -> bool:
        """Nothing waits."""
        return True


class _NoShedding:
    def sheds(self, rung: Rung) -> bool:  # noqa: ARG002  # the protocol's
        return False


NO_TAP: TelemetryTap = _NoTap()
NO_SHEDDING: Shedding = _NoShedding()


@dataclass(frozen=True, slots=True, kw_only=True)
class Downstream:
    """What lies behind a receiver or scraper.

    Attributes:
        sink: where batches go.
        tap: where payloads are handed on.
        shedding: who says what is given up.
        inflight: the bytes that all of them together may hold; asked before they are held.
        twins: where a gateway's file-log and http-log find out that they tell of the same requests.
        owed: where it is noted what was turned away to come again, and that it came; None where nobody asks for it.
        past: where what was missed is kept once it can be told; None where nothing is.
    """

    sink: SampleSink
    tap: TelemetryTap = NO_TAP
    shedding: Shedding = NO_SHEDDING
    inflight: Inflight = field(default_factory=Inflight)
    twins: KongTwins = field(default_factory=KongTwins)
    owed: Owed | None = None
    past: PastSink | None = None
