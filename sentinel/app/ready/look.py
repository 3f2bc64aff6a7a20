"""The look at everything a configuration names: it is made as the program makes it, and each part says what it reaches.

Nothing is started, sent or stored. What stands outside is asked at once; one that hangs takes its own time limit and nobody
else's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Sequence
from typing import Protocol, runtime_checkable

from sentinel.app.config import Mode, SentinelConfig, receivers_of
from sentinel.app.ready.own import port_reach, store_reach
from sentinel.app.registry import make_scrapers, make_sources
from sentinel.app.role import Role
from sentinel.core.model import SampleBatch
from sentinel.errors import SentinelError
from sentinel.ports import Admission
from sentinel.runtime.catalogue import CATALOGUE
from sentinel.runtime.clock import SystemClock
from sentinel.runtime.component import Component, Surroundings
from sentinel.runtime.http.client import place_of
from sentinel.runtime.intake.downstream import Downstream
from sentinel.runtime.listen import listening
from sentinel.runtime.metrics import Metrics
from sentinel.runtime.nats.config import NatsStreamConfig
from sentinel.runtime.polling.connecting import connection_problem
from sentinel.runtime.polling.reach import Reach, ReachStatus
from sentinel.senders.otlp_forward import EndpointConfig

_LIMIT_S = 60.0


@runtime_checkable
class Reaching(Protocol):
    """A part that can say what it reaches without being started."""

    async def reach(self) -> tuple[Reach, ...]:
        """What is reachable and what is missing; never raises."""
        ...


class _NoSink:
    def accept(self, batch: SampleBatch, *, size_bytes: int) -> Admission:  # noqa: ARG002  # the port's
        return Admission.ACCEPTED


async def look(config: SentinelConfig, *, is_running: bool) -> list[Reach]:
    """What is reachable of all that the configuration names, in the order of the flow.

    Args:
        config: the configuration.
        is_running: whether a sidecar runs by it, which then holds its ports and its store.
    """
    surroundings = Surroundings(
        clock=SystemClock(), metrics=Metrics(CATALOGUE), logger=_silent_logger()
    )
    downstream = Downstream(sink=_NoSink())
    parts: list[Component] = [
        *make_sources(config, downstream, surroundings).values(),
        *make_scrapers(
            config.scrapers,
            downstream,
            surroundings,
            windows=config.series.series_settings(),
        ).values(),
    ]
    try:
        outside = [
            *(_of(part.name, part.reach()) for part in parts if isinstance(part, Reaching)),
            *_senders(config),
            *_forwarding(config),
            _own_endpoint(config),
        ]
        own = [
            port_reach(path, listen, is_running=is_running)
            for path, listen in (
                *listening(receivers_of(config), "receivers"),
                *listening(config.web, "web"),
            )
        ]
        store = await asyncio.to_thread(store_reach, config.store, is_running=is_running)
        found = await asyncio.gather(*outside)
        return [*own, *store, *(one for reaches in found for one in reaches)]
    finally:
        for part in parts:
            await part.stop()


async def _of(name: str, reaching: Awaitable[Sequence[Reach]]) -> Sequence[Reach]:
    """What a part says, within a limit; a fault of it must not hide the others."""
    try:
        async with asyncio.timeout(_LIMIT_S):
            return await reaching
    except TimeoutError:
        sentence = f"no answer within {_LIMIT_S:g} s"
    except (SentinelError, OSError) as error:
        sentence = str(error)
    return (Reach(what=name, status=ReachStatus.FAILING, sentence=sentence),)


def _senders(config: SentinelConfig) -> list[Awaitable[Sequence[Reach]]]:
    if config.role is Role.COLLECT:
        return [_of("collect", _scorer(config))]
    if config.senders.is_empty:
        return [_nobody_is_paged(config)]
    alertmanager = config.senders.alertmanager
    clients = {
        **{
            f"alertmanager:{place_of(url)}": (url, alertmanager.client)
            for url in alertmanager.urls
        },
        **{f"webhook:{one.name}": (one.url, one.client) for one in config.senders.webhooks},
    }

    async def one(name: str) -> Sequence[Reach]:
        url, client = clients[name]
        problem = await connection_problem(url, client)
        if not problem:
            sentence = f"{place_of(url)} takes connections"
            return (Reach(what=f"senders.{name}", status=ReachStatus.OK, sentence=sentence),)
        return (
            Reach(
                what=f"senders.{name}",
                status=ReachStatus.FAILING,
                sentence=problem,
                remedy="Start it, or mend its URL; pages wait in the store until it takes them.",
            ),
        )

    return [_of(f"senders.{name}", one(name)) for name in clients]


async def _scorer(config: SentinelConfig) -> Sequence[Reach]:
    """Whether the scorer's address, or a server of its stream, takes connections."""
    if config.collect.nats.urls:
        return (await _stream(config.collect.nats),)
    problem = await connection_problem(config.collect.url, config.collect.client)
    return (
        Reach(
            what="collect",
            status=ReachStatus.FAILING if problem else ReachStatus.OK,
            sentence=problem or f"the scorer at {place_of(config.collect.url)} takes connections",
            remedy="Start it, or mend collect.url; windows wait on disk until it takes them."
            if problem
            else "",
        ),
    )


async def _stream(config: NatsStreamConfig) -> Reach:
    """Whether the stream is there and may be asked for; nothing is made."""
    from sentinel.runtime.nats.stream import StreamConnection

    what, connection = "collect", StreamConnection(config, name="sentinel-check")
    try:
        found = await connection.find()
    except Exception as error:  # noqa: BLE001  # the library raises what it meets
        return Reach(
            what=what,
            status=ReachStatus.FAILING,
            sentence=connection.words(error),
            remedy="Start it, or mend collect.nats; windows wait on disk until it takes them.",
        )
    finally:
        await connection.close()
    sentence = f"{connection.place} takes windows"
    if not found:
        sentence = f"{connection.place} is not there yet, and is made by the first who needs it"
    return Reach(what=what, status=ReachStatus.OK, sentence=sentence)


async def _nobody_is_paged(config: SentinelConfig) -> Sequence[Reach]:
    if config.mode is Mode.SHADOW:
        sentence = "mode is shadow: pages are recorded, and none is sent"
        return (Reach(what="senders", status=ReachStatus.OK, sentence=sentence),)
    return (
        Reach(
            what="senders",
            status=ReachStatus.DEGRADED,
            sentence="no destination is given: nobody is paged",
            remedy="Give senders.alertmanager.urls or senders.webhooks.",
        ),
    )


def _forwarding(config: SentinelConfig) -> list[Awaitable[Sequence[Reach]]]:
    async def one(endpoint: EndpointConfig) -> Sequence[Reach]:
        what = f"forward {endpoint.name}"
        problem = await connection_problem(endpoint.url, endpoint.client)
        if not problem:
            sentence = f"{place_of(endpoint.url)} takes connections"
            return (Reach(what=what, status=ReachStatus.OK, sentence=sentence),)
        return (
            Reach(
                what=what,
                status=ReachStatus.FAILING,
                sentence=problem,
                remedy="Start it, or mend its URL; what is handed on waits in its queue until the oldest is dropped.",
            ),
        )

    return [
        _of(f"forward {endpoint.name}", one(endpoint)) for endpoint in config.forward.endpoints
    ]


async def _own_endpoint(config: SentinelConfig) -> Sequence[Reach]:
    section = config.self_telemetry
    if not section.is_asked_for:
        return ()
    problem = await connection_problem(section.endpoint, section.client)
    place = place_of(section.endpoint)
    return (
        Reach(
            what="self_telemetry",
            status=ReachStatus.DEGRADED if problem else ReachStatus.OK,
            sentence=problem or f"{place} takes connections",
            remedy="Own traces and logs are dropped until it answers." if problem else "",
        ),
    )


def _silent_logger() -> logging.Logger:
    """What parts log is said by what they reach."""
    logger = logging.getLogger("sentinel.check_ready")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    return logger
