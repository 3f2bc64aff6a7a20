"""Goal: while logs are shed files wait, a gateway's calls go on being counted, and nothing that was not read looks like none.

Method: real files, the component, and one who says what is shed as the test wishes.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from sentinel.core.model import Rung
from sentinel.core.normalise.logs.settings import LogFormat
from sentinel.receivers.log_files import LogSourceConfig, component
from sentinel.receivers.log_files.config import StartAt
from sentinel.runtime.component import HealthStatus
from sentinel.runtime.intake.inflight import Inflight
from tests.support.kong_records import record
from tests.support.log_files import Followed, following

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

COMBINED = '10.0.0.1 - - [{time}] "GET /x HTTP/1.1" 200 5 "-" "curl"\n'


class Wished:
    """Says what is shed as the test wishes."""

    def __init__(self) -> None:
        self.rungs: set[Rung] = set()

    def sheds(self, rung: Rung) -> bool:
        """As `Shedding`."""
        return rung in self.rungs


def append(path: Path, *lines: str) -> None:
    with path.open("a") as file:
        file.writelines(lines)


def gateway_line(number: int) -> str:
    return json.dumps(record(number, started_ms=int(time.time() * 1e3))) + "\n"


def access_line() -> str:
    return COMBINED.format(time=time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime()))


def line_count(followed: Followed) -> int:
    """Lines of the access log that were counted."""
    columns = [one.log_columns for one in followed.sink.batches if one.log_columns is not None]
    return sum(len(one.time_ns) for one in columns)


def call_count(followed: Followed) -> int:
    """Calls of the gateway that were counted."""
    return sum(len(one.calls.end_ns) for one in followed.sink.batches if one.calls is not None)


def heard_count(followed: Followed, service: str) -> int:
    """How often it was said, without anything of it, that a service is heard."""
    return sum(service in one.services for one in followed.sink.batches if not one.sample_count)


async def test_files_wait_and_a_gateways_calls_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every file waited, and of those that tell of calls it was said that they are heard, every two seconds.

    So the gateway's traffic was 0 for as long as logs were shed, which pages as a fall of traffic: an outage of its own
    making, in the one hour in which nobody can look at it calmly.
    """
    monkeypatch.setattr(component, "_HEARD_EVERY_S", 0.0)
    access, gateway = tmp_path / "access.log", tmp_path / "kong.log"
    sources = (
        LogSourceConfig(
            name="access",
            paths=(str(access),),
            service="shop",
            format=LogFormat.COMBINED,
            start=StartAt.BEGINNING,
        ),
        LogSourceConfig(
            name="gateway",
            paths=(str(gateway),),
            service="kong",
            format=LogFormat.KONG,
            start=StartAt.BEGINNING,
        ),
    )
    append(access, access_line())
    append(gateway, gateway_line(1))
    wished = Wished()
    async with following(*sources, state=tmp_path / "state", shedding=wished) as followed:
        await followed.sees(
            lambda: line_count(followed) == call_count(followed) == 1, "the first lines"
        )
        wished.rungs = {Rung.TRACES, Rung.LOGS}
        append(access, access_line(), access_line())
        append(gateway, gateway_line(2))
        await followed.sees(lambda: call_count(followed) == 2, "the gateway's next call")
        before, shop = heard_count(followed, "kong"), heard_count(followed, "shop")
        await followed.sees(lambda: heard_count(followed, "kong") > before + 3, "more rounds")
        assert line_count(followed) == 1, "what is shed is not read"
        assert heard_count(followed, "shop") == shop, "what it says is not known"
        assert followed.component.health().status is HealthStatus.DEGRADED
        wished.rungs = set()
        await followed.sees(lambda: line_count(followed) == 3, "what waited in the file")
        await followed.sees(
            lambda: followed.component.health().status is HealthStatus.OK, "health"
        )
        assert heard_count(followed, "shop") > 0


async def test_files_wait_while_there_is_no_room_for_a_piece_of_them(tmp_path: Path) -> None:
    access = tmp_path / "access.log"
    source = LogSourceConfig(
        name="access",
        paths=(str(access),),
        service="shop",
        format=LogFormat.COMBINED,
        start=StartAt.BEGINNING,
    )
    inflight = Inflight(2**20)
    assert inflight.take(2**20)
    append(access, access_line())
    async with following(source, state=tmp_path / "state", inflight=inflight) as followed:
        metrics = followed.component._surroundings.metrics
        errors = "sentinel_component_errors_total"
        own = {"component": "receivers.log_files", "stage": "read", "reason": "overloaded"}
        await followed.sees(lambda: metrics.value(errors, **own) > 3, "rounds without room")
        assert line_count(followed) == 0
        assert followed.component.health().status is HealthStatus.DEGRADED
        inflight.give_back(2**20)
        await followed.sees(lambda: line_count(followed) == 1, "the line that waited")
        await followed.sees(lambda: inflight.held_bytes == 0, "what was held to be given back")
