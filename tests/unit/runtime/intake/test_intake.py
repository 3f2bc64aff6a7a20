"""Goal: an intake admits what it has room for, gives every place back, and ends what it began.

Method: the intake alone, with a decoder the test holds open in its thread and a sink that keeps batches.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading

import pytest

from sentinel.core.model import Rung, SampleBatch
from sentinel.errors import MalformedInputError, OverloadedError
from sentinel.ports import Admission
from sentinel.runtime.component import Surroundings
from sentinel.runtime.http.body import SlowInputError
from sentinel.runtime.intake.downstream import Downstream, Telemetry
from sentinel.runtime.intake.inflight import Inflight
from sentinel.runtime.intake.owed import Owed
from sentinel.runtime.intake.request import Intake, IntakeLimitsConfig
from sentinel.runtime.otlp_reply import OtlpEncoding, OtlpSignal
from sentinel.runtime.settings import ByteSize, Duration
from tests.support.clock import ManualClock
from tests.support.sinks import ListSink
from tests.support.surroundings import make_surroundings
from tests.support.taps import RoomyTap

LARGE = bytes(2**20)


class HeldDecoder:
    """Decodes once the test lets it."""

    def __init__(self, gate: threading.Event) -> None:
        self._gate = gate

    def decode(
        self, signal: OtlpSignal, encoding: OtlpEncoding, body: bytes, *, now_ns: int
    ) -> SampleBatch:
        """As `Decoder`; gives up after a while, so that a failing test ends."""
        if body.startswith(b"fault"):
            msg = "a fault of ours"
            raise RuntimeError(msg)
        assert self._gate.wait(10)
        return SampleBatch()


def make_intake(
    sink: ListSink, limits: IntakeLimitsConfig | None = None
) -> tuple[Intake, threading.Event, Surroundings, ManualClock]:
    gate = threading.Event()
    gate.set()
    clock = ManualClock()
    surroundings = make_surroundings(clock)
    intake = Intake(
        "receivers.test",
        limits or IntakeLimitsConfig(),
        lambda: HeldDecoder(gate),
        Downstream(sink=sink),
        surroundings,
    )
    return intake, gate, surroundings, clock


async def take(intake: Intake, body: bytes) -> SampleBatch:
    with intake.admit(len(body), OtlpSignal.TRACES):
        return await intake.take(
            OtlpSignal.TRACES, OtlpEncoding.PROTOBUF, body, wire_bytes=len(body)
        )


def test_places_are_bounded_in_number_and_bytes_and_given_back() -> None:
    limits = IntakeLimitsConfig(request_count_max=2, inflight_max=ByteSize(100))
    intake, _, surroundings, _ = make_intake(ListSink(), limits)
    with intake.admit(60, OtlpSignal.TRACES) as first:
        with pytest.raises(OverloadedError, match="bytes"):
            intake.admit(50, OtlpSignal.TRACES)
        with intake.admit(10, OtlpSignal.TRACES):
            with pytest.raises(OverloadedError, match="requests"):
                intake.admit(0, OtlpSignal.TRACES)
            with pytest.raises(OverloadedError, match="bytes"):
                first.grow(91)
            first.grow(90)
            first.grow(5)
    assert intake.request_count == 0
    inflight = surroundings.metrics.value(
        "sentinel_receiver_inflight_bytes", receiver="receivers.test"
    )
    assert inflight == 0
    with intake.admit(100, OtlpSignal.TRACES):
        assert intake.request_count == 1


def test_a_request_over_the_whole_bound_is_taken_alone_for_otherwise_it_never_could() -> None:
    """Its sender was told to come again for ever, and meanwhile no window's amounts were known."""
    limits = IntakeLimitsConfig(inflight_max=ByteSize(100))
    for shared_bytes in (100, 2**20):
        inflight = Inflight(shared_bytes)
        intake = Intake(
            "receivers.test",
            limits,
            lambda: HeldDecoder(threading.Event()),
            Downstream(sink=ListSink(), inflight=inflight),
            make_surroundings(ManualClock()),
        )
        with (
            intake.admit(101, OtlpSignal.TRACES),
            pytest.raises(OverloadedError, match="bytes"),
        ):
            intake.admit(1, OtlpSignal.TRACES)
        with intake.admit(10, OtlpSignal.TRACES) as place:
            place.grow(500)
            with pytest.raises(OverloadedError, match="bytes"):
                intake.admit(1, OtlpSignal.TRACES)
        with (
            intake.admit(10, OtlpSignal.TRACES),
            intake.admit(10, OtlpSignal.TRACES) as place,
            pytest.raises(OverloadedError, match="bytes"),
        ):
            place.grow(500)
        assert (inflight.held_bytes, intake.request_count) == (0, 0)


def test_receivers_have_one_bound_of_bytes_together() -> None:
    """Each had a bound of its own: with three of them and the queue that came to more than a sidecar's memory."""
    surroundings, inflight = make_surroundings(ManualClock()), Inflight(100)
    first, second = (
        Intake(
            name,
            IntakeLimitsConfig(inflight_max=ByteSize(90)),
            lambda: HeldDecoder(threading.Event()),
            Downstream(sink=ListSink(), inflight=inflight),
            surroundings,
        )
        for name in ("receivers.first", "receivers.second")
    )
    with first.admit(60, OtlpSignal.TRACES):
        with pytest.raises(OverloadedError, match="of all receivers") as caught:
            second.admit(50, OtlpSignal.METRICS)
        assert caught.value.retry_after_s == 1.0
        with second.admit(30, OtlpSignal.METRICS) as place:
            with pytest.raises(OverloadedError, match="of all receivers"):
                place.grow(41)
            place.grow(40)
            assert inflight.held_bytes == 100
    assert inflight.held_bytes == 0
    assert (first.request_count, second.request_count) == (0, 0)
    with second.admit(50, OtlpSignal.METRICS):
        assert inflight.held_bytes == 50


async def test_what_a_bound_turned_away_is_missing_until_it_is_taken() -> None:
    surroundings = make_surroundings(clock := ManualClock())
    gate, sink = threading.Event(), ListSink(Admission.RETRY_LATER)
    gate.set()
    owed = Owed(clock, surroundings.metrics, hold_s=30)
    intake = Intake(
        "receivers.test",
        IntakeLimitsConfig(inflight_max=ByteSize(100)),
        lambda: HeldDecoder(gate),
        Downstream(sink=sink, owed=owed),
        surroundings,
        services=frozenset({"kong"}),
    )
    with pytest.raises(OverloadedError, match="queue"):
        await take(intake, b"first")
    (missing,) = owed.missing()
    assert (missing.signal, missing.services) == ("traces", frozenset({"kong"}))
    await clock.advance(0.3)
    await take(intake, b"first")
    assert owed.missing() == ()
    with intake.admit(80, OtlpSignal.LOGS), pytest.raises(OverloadedError, match="bytes"):
        await take(intake, b"x" * 30)
    assert [one.signal for one in owed.missing()] == ["traces"]
    await take(intake, b"x" * 30)
    assert owed.missing() == ()
    # What inflates to more than there is room for is known by its size on the wire.
    with intake.admit(80, OtlpSignal.LOGS):
        with pytest.raises(OverloadedError), intake.admit(10, OtlpSignal.TRACES) as place:
            place.grow(90)
        assert len(owed.missing()) == 1
    with intake.admit(10, OtlpSignal.TRACES) as place:
        place.grow(90)
    assert owed.missing() == ()
    # A body that came too slowly comes again as well.
    with pytest.raises(SlowInputError), intake.admit(10, OtlpSignal.TRACES):
        raise SlowInputError("half of it")
    assert len(owed.missing()) == 1
    with intake.admit(10, OtlpSignal.TRACES):
        pass
    assert owed.missing() == ()
    intake.refuse_new()
    with pytest.raises(OverloadedError, match="shutting down"):
        intake.admit(1, OtlpSignal.TRACES)
    assert owed.missing() == ()


async def test_after_a_full_queue_requests_are_turned_away_for_a_moment() -> None:
    sink = ListSink(Admission.RETRY_LATER)
    intake, _, _, clock = make_intake(sink)
    for _ in range(3):
        with pytest.raises(OverloadedError, match="queue") as caught:
            await take(intake, b"")
        assert caught.value.retry_after_s == 1.0
    assert sink.offered_count == 1
    await clock.advance(0.3)
    await take(intake, b"")
    assert (sink.offered_count, intake.request_count) == (2, 0)


class _Tap(RoomyTap):
    def __init__(self) -> None:
        self.taken: list[Telemetry] = []

    def offer(self, payload: Telemetry) -> None:
        """As `TelemetryTap`."""
        self.taken.append(payload)


class _ShedTraces:
    def sheds(self, rung: Rung) -> bool:
        """As `Shedding`."""
        return rung is Rung.TRACES


async def test_only_what_was_taken_is_handed_on_and_counted() -> None:
    tap = _Tap()
    sink = ListSink(Admission.RETRY_LATER)
    surroundings = make_surroundings(clock := ManualClock())
    gate = threading.Event()
    gate.set()
    intake = Intake(
        "receivers.test",
        IntakeLimitsConfig(),
        lambda: HeldDecoder(gate),
        Downstream(sink=sink, tap=tap),
        surroundings,
    )
    with pytest.raises(OverloadedError):
        await take(intake, b"first")
    assert tap.taken == []
    await clock.advance(0.3)
    await take(intake, b"second")
    assert [(one.body, one.redacted) for one in tap.taken] == [(b"second", False)]
    errors = surroundings.metrics.value(
        "sentinel_component_errors_total",
        component="receivers.test",
        stage="take",
        reason="queue_full",
    )
    assert errors == 1


async def test_what_is_shed_is_turned_away_before_it_is_read() -> None:
    surroundings = make_surroundings(ManualClock())
    intake = Intake(
        "receivers.test",
        IntakeLimitsConfig(),
        lambda: HeldDecoder(threading.Event()),
        Downstream(sink=ListSink(), shedding=_ShedTraces()),
        surroundings,
    )
    with pytest.raises(OverloadedError, match="traces are not taken"):
        intake.admit(1, OtlpSignal.TRACES)
    with intake.admit(1, OtlpSignal.METRICS), intake.admit(1, OtlpSignal.LOGS):
        assert intake.request_count == 2


async def test_one_request_in_ten_is_taken_while_its_signal_is_shed() -> None:
    """With none at all an outage under overload is not seen: there is no share of failed calls to judge."""
    surroundings = make_surroundings(ManualClock())
    intake = Intake(
        "receivers.test",
        IntakeLimitsConfig(),
        lambda: HeldDecoder(threading.Event()),
        Downstream(sink=ListSink(), shedding=_ShedTraces()),
        surroundings,
    )
    taken = 0
    for _ in range(100):
        try:
            with intake.admit(1, OtlpSignal.TRACES):
                taken += 1
        except OverloadedError as error:
            assert error.retry_after_s == 1.0  # noqa: PT017  # some are taken
    assert taken == 10
    shed = surroundings.metrics.value(
        "sentinel_component_errors_total",
        component="receivers.test",
        stage="read",
        reason="shed",
    )
    assert shed == 90


@pytest.mark.parametrize("sender_count", [2, 5, 10, 30])
def test_of_senders_that_come_in_turn_each_is_taken_one_time_in_ten(sender_count: int) -> None:
    """Each tenth request was taken: of ten services that export in turn always the same one, and of the others nothing."""
    intake = Intake(
        "receivers.test",
        IntakeLimitsConfig(),
        lambda: HeldDecoder(threading.Event()),
        Downstream(sink=ListSink(), shedding=_ShedTraces()),
        make_surroundings(ManualClock()),
    )
    taken = [0] * sender_count
    for _ in range(400):
        for sender in range(sender_count):
            with contextlib.suppress(OverloadedError), intake.admit(1, OtlpSignal.TRACES):
                taken[sender] += 1
    assert all(36 <= count <= 44 for count in taken)


@pytest.mark.parametrize("body", [b"fault", b"fault" + LARGE], ids=["inline", "aside"])
async def test_a_fault_of_the_decoder_is_the_sender_s_to_keep_away(body: bytes) -> None:
    intake, _, _, _ = make_intake(ListSink())
    with pytest.raises(MalformedInputError):
        await take(intake, body)
    assert intake.request_count == 0
    intake.close()


async def test_what_was_admitted_ends_though_nothing_new_is_admitted() -> None:
    sink = ListSink()
    intake, gate, _, _ = make_intake(sink)
    gate.clear()
    large = asyncio.create_task(take(intake, LARGE))
    while intake.request_count == 0:
        await asyncio.sleep(0)
    intake.refuse_new()
    with pytest.raises(OverloadedError, match="shutting down"):
        intake.admit(1, OtlpSignal.TRACES)
    gate.set()
    await large
    assert len(sink.batches) == 1
    intake.close()
    intake.close()


async def test_decoding_that_is_behind_is_told_to_the_sender() -> None:
    limits = IntakeLimitsConfig(decode_timeout=Duration(0.05))
    intake, gate, _, _ = make_intake(ListSink(), limits)
    gate.clear()
    with pytest.raises(OverloadedError, match="behind"):
        await take(intake, LARGE)
    gate.set()
    assert intake.request_count == 0
    intake.close()
