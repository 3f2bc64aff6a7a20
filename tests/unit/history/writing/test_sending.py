"""Goal: every way a receiver can answer leads to what remote write asks for, and every sample is accounted for.

Method: a receiver on loopback that reads the wire by itself; waiting is counted and not done.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from sentinel.errors import RefusedError, UnreachableError
from sentinel.history.writing.messages import Protocol, Run
from sentinel.history.writing.sending import RemoteWriteEndpoint
from sentinel.runtime.http.client import ClientConfig
from sentinel.runtime.settings import FilePath, Secret
from tests.support.remote_write import WriteReceiver, write_receiver


class WaitingClock:
    """Time passes by waiting alone."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    def monotonic_s(self) -> float:
        """Seconds that were waited."""
        return sum(self.waits)

    async def sleep(self, seconds: float) -> None:
        """Note it."""
        self.waits.append(seconds)


class Scene:
    """An endpoint, its receiver's clock, and what was told."""

    def __init__(self, receiver: WriteReceiver, **how: object) -> None:
        self.receiver = receiver
        self.clock = WaitingClock()
        self.told: list[str] = []
        settings: dict[str, object] = {"protocol": None, "give_up_after_s": 60.0, **how}
        config = settings.pop("config", ClientConfig())
        self.endpoint = RemoteWriteEndpoint(
            str(settings.pop("url", receiver.url)),
            config,  # type: ignore[arg-type]
            self.clock,
            on_news=self.told.append,
            **settings,  # type: ignore[arg-type]
        )

    async def send(self, *runs: Run) -> None:
        """Send, and let go."""
        try:
            await self.endpoint.send(runs or some_runs())
        finally:
            await self.endpoint.close()


def some_runs(count: int = 3, samples: int = 4, *, first_ms: int = 1_000_000) -> list[Run]:
    return [
        Run(
            metric="sentinel_score",
            labels=(("route", f"GET /{number}"), ("service", "pay")),
            times_ms=[first_ms + 300_000 * at for at in range(samples)],
            values=[number + at / 10 for at in range(samples)],
        )
        for number in range(count)
    ]


def as_received(runs: list[Run]) -> dict[tuple[tuple[str, str], ...], list[tuple[int, float]]]:
    return {
        (("__name__", run.metric), *run.labels): list(zip(run.times_ms, run.values, strict=True))
        for run in runs
    }


@pytest.mark.parametrize("protocol", Protocol)
async def test_both_versions_say_the_same(protocol: Protocol) -> None:
    with write_receiver() as receiver:
        scene = Scene(receiver, protocol=protocol)
        await scene.send()
        assert receiver.numbers() == as_received(some_runs())
        assert receiver.help == {"sentinel_score": "Strangeness; 1 is the edge of the band."}
    assert (scene.endpoint.sent.written, scene.endpoint.sent.refused) == (12, 0)


async def test_2_is_spoken_where_it_is_understood() -> None:
    with write_receiver() as receiver:
        scene = Scene(receiver)
        await scene.send()
        await scene.send(*some_runs(first_ms=9_000_000))
        versions = [one["x-prometheus-remote-write-version"] for one in receiver.requests]
    assert versions == ["2.0.0", "2.0.0"]
    assert scene.told == []


@pytest.mark.parametrize("looks", [True, False], ids=["415", "an empty request"])
async def test_1_is_spoken_where_2_is_not_understood(*, looks: bool) -> None:
    """A receiver that does not look at the content type says that nothing of nothing was written; the samples were lost."""
    with write_receiver(speaks=("1.0",), looks=looks) as receiver:
        scene = Scene(receiver)
        await scene.send()
        await scene.send(*some_runs(first_ms=9_000_000))
        versions = [one["x-prometheus-remote-write-version"] for one in receiver.requests]
        assert sum(map(len, receiver.numbers().values())) == 24
    assert versions == ["2.0.0", "0.1.0", "0.1.0"]
    assert len(scene.told) == 1
    assert "written to by 1.0" in scene.told[0]


@pytest.mark.parametrize("looks", [True, False])
async def test_2_that_was_asked_for_is_not_given_up_in_silence(*, looks: bool) -> None:
    with write_receiver(speaks=("1.0",), looks=looks) as receiver:
        scene = Scene(receiver, protocol=Protocol.V2)
        with pytest.raises(RefusedError) as refused:
            await scene.send()
    assert refused.value.status == (415 if looks else 204)


async def test_what_is_busy_or_away_is_tried_again_and_not_before_it_asks() -> None:
    with write_receiver() as receiver:
        receiver.answers.extend(
            [(503, {}, "starting"), (429, {"Retry-After": "17"}, ""), (500, {}, "")]
        )
        scene = Scene(receiver)
        await scene.send()
        assert receiver.numbers() == as_received(some_runs())
    assert len(scene.clock.waits) == 3
    assert scene.clock.waits[1] == 17.0
    assert all(0 < wait <= 2 for wait in (scene.clock.waits[0], scene.clock.waits[2]))
    assert (scene.endpoint.sent.retries, scene.endpoint.sent.written) == (3, 12)


async def test_it_is_given_up_after_the_time_that_it_was_given() -> None:
    with write_receiver() as receiver:
        receiver.answers.extend([(503, {}, "no leader")] * 500)
        scene = Scene(receiver, give_up_after_s=100.0)
        with pytest.raises(UnreachableError, match=r"within 100 s: status 503: no leader"):
            await scene.send()
        assert 50 < sum(scene.clock.waits) <= 100
        # What asks for longer than there is time is not waited for.
        receiver.answers.clear()
        receiver.answers.append((429, {"Retry-After": "120"}, ""))
        scene = Scene(receiver, give_up_after_s=100.0)
        with pytest.raises(UnreachableError, match="429"):
            await scene.send()
    assert scene.clock.waits == []
    scene = Scene(receiver, give_up_after_s=10.0)
    with pytest.raises(UnreachableError, match="did not take a request"):
        await scene.send()


async def test_what_is_refused_is_counted_and_told_once() -> None:
    partly = {"X-Prometheus-Remote-Write-Samples-Written": "5"}
    with write_receiver() as receiver:
        receiver.answers.append((400, partly, "out of order sample"))
        scene = Scene(receiver)
        await scene.send()
        assert (scene.endpoint.sent.written, scene.endpoint.sent.refused) == (5, 7)
        assert scene.endpoint.sent.refused_why == "status 400: out of order sample"
        await scene.send()
        assert (scene.endpoint.sent.written, scene.endpoint.sent.refused) == (17, 7)
        # One that leaves something out and says 2xx all the same is believed in what it counts.
        receiver.answers.append((204, partly, ""))
        scene = Scene(receiver, protocol=Protocol.V2)
        await scene.send(*some_runs(first_ms=9_000_000))
        assert (scene.endpoint.sent.written, scene.endpoint.sent.refused) == (5, 7)
        assert scene.endpoint.sent.refused_why == "it says that it wrote fewer"
        # 1.0 has no way to say what of it was taken.
        receiver.answers.append((400, {}, "out of bounds"))
        scene = Scene(receiver, protocol=Protocol.V1)
        await scene.send(*some_runs(first_ms=9_000_000))
        assert (scene.endpoint.sent.written, scene.endpoint.sent.refused) == (0, 12)


async def test_where_everything_is_refused_it_ends() -> None:
    with write_receiver() as receiver:
        receiver.answers.extend([(400, {}, "too old")] * 20)
        scene = Scene(receiver, protocol=Protocol.V1)
        for _ in range(19):
            await scene.send()
        with pytest.raises(RefusedError, match="20 requests in a row"):
            await scene.send()
    assert scene.endpoint.sent.refused == 20 * 12


@pytest.mark.parametrize("status", [301, 401, 403, 404, 422])
async def test_a_wrong_address_or_access_ends_it_at_once(status: int) -> None:
    with write_receiver() as receiver:
        receiver.answers.append((status, {"Location": "/elsewhere"}, "no"))
        scene = Scene(receiver)
        with pytest.raises(RefusedError) as refused:
            await scene.send()
        assert len(receiver.requests) == 1
    assert refused.value.status == status


async def test_a_request_that_is_too_large_is_sent_in_halves() -> None:
    runs = some_runs(count=5, samples=40)
    with write_receiver(bytes_max=400) as receiver:
        scene = Scene(receiver, protocol=Protocol.V2)
        await scene.send(*runs)
        assert receiver.numbers() == as_received(runs)
    assert (scene.endpoint.sent.written, scene.endpoint.sent.refused) == (200, 0)
    with write_receiver(bytes_max=10) as receiver:
        scene = Scene(receiver, protocol=Protocol.V2)
        await scene.send(*some_runs(count=1, samples=2))
    assert (scene.endpoint.sent.written, scene.endpoint.sent.refused) == (0, 2)


async def test_who_we_are_is_said_and_never_shown(tmp_path: Path) -> None:
    token = "s3cr3t-t0ken"  # a test's
    with write_receiver() as receiver:
        receiver.answers.append((401, {}, f"bad token {token}"))
        config = ClientConfig(bearer_token=Secret(token))
        scene = Scene(receiver, config=config, tenant="team-a")
        with pytest.raises(RefusedError) as refused:
            await scene.send()
        headers = receiver.requests[0]
    assert headers["authorization"] == f"Bearer {token}"
    assert headers["x-scope-orgid"] == "team-a"
    assert headers["user-agent"].startswith("sentinel/")
    assert token not in str(refused.value)
    missing = ClientConfig(ca_file=FilePath(str(tmp_path / "none.pem")))
    with pytest.raises(Exception, match=r"none\.pem"):
        Scene(receiver, config=missing, url="https://127.0.0.1:1/api/v1/write")
