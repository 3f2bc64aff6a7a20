"""What JetStream told of by itself since the last reading, as a target of the scraper.

A reading asks nothing: it empties what the connection gathered, every other second, so that a line is in its window before that
closes. A connection that is away makes the reading fail, which is how it is counted and shown.
"""

from __future__ import annotations

from sentinel.core.normalise.nats import AdvisoryKind, AdvisoryLog, read_advisory
from sentinel.errors import InputError
from sentinel.runtime.component import Surroundings
from sentinel.runtime.flow import Flow, FlowReason, FlowStage, reason_of
from sentinel.runtime.polling.component import Polled
from sentinel.runtime.polling.reach import Reach, ReachStatus
from sentinel.runtime.tasks import TaskGroup
from sentinel.scrapers.nats.config import NatsConfig
from sentinel.scrapers.nats.connection import AdvisoryConnection

_INTERVAL_S = 2.0
_MARGIN_S = 1.0
_BODY_BYTES_MAX = 64 * 1024
_POINT_BYTES = 200
_REMEDY = (
    "allow it to subscribe to `$JS.EVENT.ADVISORY.>`, in the account whose streams are watched"
)


class NatsAdvisories:
    """Listens for advisories, as a target of the scraper."""

    def __init__(
        self, scraper: str, config: NatsConfig, log: AdvisoryLog, surroundings: Surroundings
    ) -> None:
        """Make it; ConfigError when a file of its TLS cannot be used. It connects at the first poll.

        Args:
            scraper: name of the component.
            config: of the cluster.
            log: of its service, shared with other connections of the same one.
            surroundings: as for a component.
        """
        self._scraper = scraper
        self._config = config
        self._log = log
        self._surroundings = surroundings
        self._flow = Flow(scraper, surroundings.metrics)
        self._connection = AdvisoryConnection(config.advisories, self._on_message, surroundings)
        self._tasks = TaskGroup(
            f"{scraper}.{config.name}", metrics=surroundings.metrics, logger=surroundings.logger
        )
        self._running = False
        self._overflow_count = 0

    @property
    def name(self) -> str:
        """The cluster's, with what it is."""
        return f"{self._config.name}-advisories"

    @property
    def interval_s(self) -> float:
        """How often what was gathered is handed on."""
        return _INTERVAL_S

    @property
    def timeout_s(self) -> float:
        """Longest time of a poll: that of a first attempt to connect."""
        return 2 * float(self._config.advisories.connect_timeout) + _MARGIN_S

    async def poll(self, now_ns: int) -> Polled:
        """What was told since the last time.

        Raises:
            UnreachableError: there is no connection; UntrustedError for the sake of its certificate.
        """
        self._ensure_running()
        await self._connection.settled()
        if not self._connection.is_connected:
            self._log.unheard(now_ns)
            raise self._connection.failure()
        overflow = self._connection.overflow_count - self._overflow_count
        self._overflow_count += overflow
        self._flow.dropped(FlowReason.QUEUE_FULL, overflow)
        batch, left_out = self._log.drain(now_ns)
        self._flow.dropped(FlowReason.LIMIT, left_out)
        denied = self._connection.denied
        if denied:
            self._flow.error(FlowStage.READ, FlowReason.DENIED)
        return Polled(
            batch=batch,
            size_bytes=_POINT_BYTES * max(1, batch.sample_count),
            notes=(f"advisories are not permitted: {denied}",) if denied else (),
        )

    async def reach(self) -> tuple[Reach, ...]:
        """Whether the connection can be made, and whether the server permits to listen."""
        self._ensure_running()
        await self._connection.settled()
        what = f"{self._scraper} {self.name}"
        if not self._connection.is_connected:
            return (
                Reach(
                    what=what,
                    status=ReachStatus.FAILING,
                    sentence=f"no connection: {self._connection.problem}",
                    remedy="look at the address and the credentials of `advisories`",
                ),
            )
        if self._connection.denied:
            return (
                Reach(
                    what=what,
                    status=ReachStatus.DEGRADED,
                    sentence=f"connected, and not permitted: {self._connection.denied}",
                    remedy=_REMEDY,
                ),
            )
        return (
            Reach(
                what=what,
                status=ReachStatus.OK,
                sentence=f"connected to nats-server {self._connection.version}, and permitted to listen",
            ),
        )

    async def close(self) -> None:
        """End the connection; idempotent."""
        self._running = False
        await self._tasks.close()

    def _ensure_running(self) -> None:
        if not self._running:
            self._running = True
            self._tasks.spawn("advisories", self._connection.run)

    def _on_message(self, body: bytes) -> None:
        if len(body) > _BODY_BYTES_MAX:
            self._flow.error(FlowStage.DECODE, FlowReason.TOO_LARGE)
            self._flow.dropped(FlowReason.TOO_LARGE)
            return
        try:
            advisory = read_advisory(body)
        except InputError as error:
            self._flow.error(FlowStage.DECODE, reason_of(error))
            self._flow.dropped(reason_of(error))
            return
        wanted = self._config.domain
        if wanted and advisory.domain and advisory.domain != wanted:
            return
        if not self._log.take(advisory, now_ns=self._surroundings.clock.now_ns()):
            self._flow.dropped(FlowReason.DUPLICATE)
            return
        self._surroundings.metrics.count(
            "sentinel_nats_advisories_total", kind=AdvisoryKind(advisory.kind).value
        )
