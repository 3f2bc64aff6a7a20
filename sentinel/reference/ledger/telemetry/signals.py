"""The ledger's metrics and log events; with its spans, which are in `traces`, all that a process says."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import partial
from typing import Final

from opentelemetry import trace
from opentelemetry._logs import SeverityNumber
from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Span

from sentinel.reference.ledger.domain.lag import Lag
from sentinel.reference.ledger.telemetry.access import AccessSignals
from sentinel.reference.ledger.telemetry.lines import LineLimit, write_line
from sentinel.reference.ledger.telemetry.process import observe_memory
from sentinel.reference.ledger.telemetry.spans import SCOPE
from sentinel.reference.ledger.telemetry.tally import Tally
from sentinel.reference.ledger.telemetry.traces import Traces

EDGE_SERVICE: Final = "ledger-edge"
POSTER_SERVICE: Final = "ledger-poster"
AUTHORIZE_SERVICE: Final = "ledger-authorize"
DISBURSER_SERVICE: Final = "ledger-disburser"
ANALYTICS_SERVICE: Final = "ledger-analytics"
ARCHIVE_SERVICE: Final = "ledger-archive"
BACKUP_SERVICE: Final = "ledger-backup"
RECONCILE_SERVICE: Final = "ledger-reconcile"
WEBHOOKS_SERVICE: Final = "ledger-webhooks"
RECEIVER_SERVICE: Final = "ledger-receiver"

_AGE_BOUNDS_S: Final = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
)  # fmt: skip


class Event(StrEnum):
    """Names of log events: stable, so that a line can be counted and looked up."""

    EDGE_STARTED = "edge.started"
    EDGE_STOPPED = "edge.stopped"
    EDGE_PUBLISH_FAILED = "edge.publish_failed"
    EDGE_READ_FAILED = "edge.read_failed"
    EDGE_REQUEST_FAILED = "edge.request_failed"
    DISBURSING_STARTED = "disbursing.started"
    DISBURSING_STOPPED = "disbursing.stopped"
    DISBURSING_FAILED = "disbursing.failed"
    DISBURSING_UNBOOKED = "disbursing.unbooked"
    AUTHORIZE_STARTED = "authorize.started"
    AUTHORIZE_STOPPED = "authorize.stopped"
    AUTHORIZE_ROTATED = "authorize.rotated"
    AUTH_KEYS_FAILED = "auth.keys_failed"
    AUTH_TLS_FAILED = "auth.tls_failed"
    AUTH_CRL_EXPIRED = "auth.crl_expired"
    AUTH_TLS_RELOADED = "auth.tls_reloaded"
    ARCHIVE_STARTED = "archive.started"
    ARCHIVE_FAILED = "archive.failed"
    BACKUP_STARTED = "backup.started"
    BACKUP_STOPPED = "backup.stopped"
    BACKUP_TAKEN = "backup.taken"
    BACKUP_FAILED = "backup.failed"
    BACKUP_EXPIRES = "backup.expires"
    EDGE_REPLICA_LOST = "edge.replica_lost"
    EDGE_REPLICA_FOUND = "edge.replica_found"
    EDGE_TRANSFER_LOST = "edge.transfer_lost"
    EDGE_ADDRESS_REFUSED = "edge.address_refused"
    EDGE_TENANT_LIMITED = "edge.tenant_limited"
    POSTING_STARTED = "posting.started"
    POSTING_STOPPED = "posting.stopped"
    POSTING_BATCH_FAILED = "posting.batch_failed"
    POSTING_BATCH_RECOVERED = "posting.batch_recovered"
    POSTING_CONFLICT = "posting.conflict"
    POSTING_DEAD_LETTERED = "posting.dead_lettered"
    POSTING_DEAD_REFUSED = "posting.dead_refused"
    POSTING_FETCH_FAILED = "posting.fetch_failed"
    ANALYTICS_STARTED = "analytics.started"
    ANALYTICS_STOPPED = "analytics.stopped"
    ANALYTICS_FAILED = "analytics.failed"
    ANALYTICS_UNREADABLE = "analytics.unreadable"
    ANALYTICS_EXPIRED = "analytics.expired"
    ANALYTICS_MISSED = "analytics.missed"
    RECONCILE_STARTED = "reconcile.started"
    RECONCILE_STOPPED = "reconcile.stopped"
    RECONCILE_FAILED = "reconcile.failed"
    RECONCILE_DRIFT = "reconcile.drift"
    RECONCILE_AGREES = "reconcile.agrees"
    RELAY_FAILED = "relay.failed"
    RELAY_RECOVERED = "relay.recovered"
    RELAY_DROPPED = "relay.dropped"
    AUDIT_STARTED = "audit.started"
    AUDIT_STOPPED = "audit.stopped"
    AUDIT_FAILED = "audit.failed"
    AUDIT_RECOVERED = "audit.recovered"
    AUDIT_BEGUN = "audit.begun"
    AUDIT_SLOT_LOST = "audit.slot_lost"
    AUDIT_UNWITNESSED = "audit.unwitnessed"
    AUDIT_CHECKPOINT_STORED = "audit.checkpoint_stored"
    AUDIT_CHECKPOINT_UNSTORED = "audit.checkpoint_unstored"
    WITNESS_STARTED = "witness.started"
    WITNESS_STOPPED = "witness.stopped"
    WITNESS_REFUSED = "witness.refused"
    EXPORTS_STARTED = "exports.started"
    EXPORTS_STOPPED = "exports.stopped"
    EXPORTS_FAILED = "exports.failed"
    EXPORT_DONE = "export.done"
    EXPORT_FAILED = "export.failed"
    EXPORT_BROKEN_OFF = "export.broken_off"
    WEBHOOKS_STARTED = "webhooks.started"
    WEBHOOKS_STOPPED = "webhooks.stopped"
    WEBHOOKS_FAILED = "webhooks.failed"
    WEBHOOKS_DROPPED = "webhooks.dropped"
    WEBHOOKS_MISSED = "webhooks.missed"
    WEBHOOKS_ENDPOINT_DISABLED = "webhooks.endpoint_disabled"
    WEBHOOKS_EVENT_UNREADABLE = "webhooks.event_unreadable"
    WEBHOOKS_SECRET_LOST = "webhooks.secret_lost"  # noqa: S105 - the name of an event
    NATS_DISCONNECTED = "nats.disconnected"
    NATS_RECONNECTED = "nats.reconnected"
    NATS_RESTORED = "nats.restored"
    NATS_ERROR = "nats.error"


class Telemetry(Traces):
    """Spans, metrics and log lines of one process."""

    def __init__(
        self,
        *,
        service: str,
        tracers: TracerProvider,
        meters: MeterProvider,
        loggers: LoggerProvider,
    ) -> None:
        self.service = service
        self._providers = (tracers, meters, loggers)
        self._logger = loggers.get_logger(SCOPE)
        self._lines = LineLimit()
        self._meter = meter = meters.get_meter(SCOPE)
        observe_memory(meter)
        self.access = AccessSignals(meter)
        super().__init__(tracers, meter)
        self._age = meter.create_histogram(
            "ledger.transfer.age",
            unit="s",
            description="Time from the edge's acceptance of a transfer to its commit.",
            explicit_bucket_boundaries_advisory=_AGE_BOUNDS_S,
        )
        self._accepted = Tally(
            meter,
            "ledger.transfers.accepted",
            unit="{transfer}",
            description="Requests that a stream took: transfers, steps, each item of a batch, expiries.",
        )
        self._lost = meter.create_counter(
            "ledger.transfers.lost",
            unit="{message}",
            description="Messages that a stream had acknowledged and lost, found when their client repeated them; taken again.",
        )
        self._posted = Tally(
            meter, "ledger.transfers.posted", unit="{transfer}", description="Transfers posted."
        )
        self._rejected = Tally(
            meter,
            "ledger.transfers.rejected",
            unit="{transfer}",
            description="Transfers rejected.",
        )
        self._repeated = Tally(
            meter,
            "ledger.transfers.repeated",
            unit="{transfer}",
            description="Messages whose key was decided before: replays and conflicts.",
        )
        self._dead = meter.create_counter(
            "ledger.transfers.dead_lettered",
            unit="{message}",
            description="Messages given up and kept on the dead-letter subject.",
        )
        self._dead_refused = meter.create_counter(
            "ledger.dead.refused",
            unit="{attempt}",
            description="Attempts to give a message up that failed, for want of room or of a server; it is delivered again.",
        )
        self._restored = meter.create_counter(
            "ledger.queue.restored",
            unit="{time}",
            description="Times that streams or consumers were gone from NATS and were made again.",
        )
        self._disbursed = meter.create_counter(
            "ledger.disbursements.moved",
            unit="{disbursement}",
            description="Disbursements by the state they came into, and the return code they came back with.",
        )
        self._refused = meter.create_counter(
            "ledger.edge.refused",
            unit="{request}",
            description="Requests refused because too many were in flight, or large bodies, in all or of their tenant.",
        )
        self._closed = meter.create_counter(
            "ledger.edge.connections_closed",
            unit="{connection}",
            description="Connections that the edge closed: too many, too slow with a head, or with reading an answer.",
        )
        self._limited = meter.create_counter(
            "ledger.edge.limited",
            unit="{request}",
            description="Requests refused because their tenant had asked too often, by its tier.",
        )
        self._address_refused = meter.create_counter(
            "ledger.edge.address_refused",
            unit="{request}",
            description="Requests refused for the address they came from, by the tenant's tier.",
        )
        self._forgotten = meter.create_counter(
            "ledger.edge.limits_forgotten",
            unit="{tenant}",
            description="Tenants in debt that the limiter forgot for want of room.",
        )
        self._unlocked = meter.create_counter(
            "ledger.edge.limits_unlocked",
            unit="{request}",
            description="Requests decided without the lock of the limits that edges share, which somebody held too long.",
        )
        self._malformed = meter.create_counter(
            "ledger.edge.malformed",
            unit="{request}",
            description="What came as a request and was none, by the kind of failure.",
        )
        self._reads = Tally(
            meter,
            "ledger.reads",
            unit="{read}",
            description="Questions answered, by the database that did and why it was that one.",
        )

    @property
    def meter(self) -> Meter:
        """Where a part of the ledger makes the metrics that only it has."""
        return self._meter

    def transfers_accepted(self, count: int) -> None:
        """Count what a stream has taken; what it recognised as taken before is not counted again."""
        self._accepted.add(count)

    def transfer_lost(self, asked_id: str) -> None:
        """Tell of a message that the stream has taken before and no longer has, though nobody decided it."""
        self._lost.add(1)
        self.warning(
            Event.EDGE_TRANSFER_LOST,
            "The stream has lost what it acknowledged; its client repeated it, and it is taken again",
            asked_id=asked_id,
        )

    def transfer_posted(self, age_s: float) -> None:
        """Count a posted transfer and how long after its acceptance it was committed."""
        self._posted.add(1)
        self._age.record(max(age_s, 0.0))

    def transfer_rejected(self, reason: str) -> None:
        """Count a rejected transfer."""
        self._rejected.add(1, {"ledger.reject.reason": reason})

    def transfer_repeated(self, outcome: str) -> None:
        """Count a message whose key had been decided before."""
        self._repeated.add(1, {"ledger.transfer.outcome": outcome})

    def dead_lettered(self, reason: str) -> None:
        """Count a message that was given up."""
        self._dead.add(1, {"ledger.reject.reason": reason})

    def dead_refused(self) -> None:
        """Count an attempt to give a message up that failed."""
        self._dead_refused.add(1)

    def queue_restored(self) -> None:
        """Count that streams or consumers were made again."""
        self._restored.add(1)

    def disbursement_moved(self, state: str, return_code: str) -> None:
        """Count a disbursement that came into another state."""
        self._disbursed.add(
            1, {"ledger.disbursement.state": state, "ledger.return.code": return_code}
        )

    def request_refused(self, reason: str) -> None:
        """Count a request refused because too many were in flight; `reason` is what there was no more of."""
        self._refused.add(1, {"ledger.edge.reason": reason})

    def connection_closed(self, reason: str) -> None:
        """Count a connection that the edge closed."""
        self._closed.add(1, {"ledger.edge.reason": reason})

    def request_limited(self, tier: str) -> None:
        """Count a request refused because its tenant had asked too often."""
        self._limited.add(1, {"ledger.tenant.tier": tier})

    def address_refused(self, tier: str) -> None:
        """Count a request refused for the address it came from."""
        self._address_refused.add(1, {"ledger.tenant.tier": tier})

    def limit_forgotten(self) -> None:
        """Count a tenant whose debt was forgotten for want of room."""
        self._forgotten.add(1)

    def limit_unlocked(self) -> None:
        """Count a request that was decided without the lock of the shared limits."""
        self._unlocked.add(1)

    def request_malformed(self, failure: str) -> None:
        """Count what came as a request and was none; `failure` is the name of an exception's class."""
        self._malformed.add(1, {"error.type": failure})

    def read_answered(self, *, source: str, reason: str) -> None:
        """Count a question, by the database that answered it; `reason` is why it was not the other."""
        self._reads.add(1, {"ledger.read.source": source, "ledger.read.reason": reason})

    def observe_replica(self, read: Callable[[], tuple[bool, Lag | None]]) -> None:
        """Export whether the replica can be read, and how far it is behind when it can."""

        def up() -> list[Observation]:
            return [Observation(int(read()[0]))]

        def late() -> list[Observation]:
            lag = read()[1]
            return [] if lag is None else [Observation(lag.behind_s)]

        def behind() -> list[Observation]:
            lag = read()[1]
            return [] if lag is None else [Observation(lag.behind_bytes)]

        self._gauge("ledger.replica.up", "1", up)
        self._gauge("ledger.replica.lag", "s", late)
        self._gauge("ledger.replica.lag.size", "By", behind)

    def observe_consumer(self, read: Callable[[], tuple[int, int] | None]) -> None:
        """Export what `read` last saw: messages not yet delivered, and delivered but not acked."""
        for index, name in enumerate(("ledger.consumer.pending", "ledger.consumer.ack_pending")):
            self._gauge(name, "{message}", partial(_single, read, index))

    def observe_connections(self, read: Callable[[], int]) -> None:
        """Export how many connections there are."""
        self._gauge("ledger.edge.connections", "{connection}", lambda: [Observation(read())])

    def observe_tenants(self, read: Callable[[], tuple[int, int]]) -> None:
        """Export how many tenants have asked of late, and how many of them were refused for asking too often."""

        def observe() -> list[Observation]:
            standings = zip(("asking", "limited"), read(), strict=True)
            return [
                Observation(count, {"ledger.tenant.standing": standing})
                for standing, count in standings
            ]

        self._gauge("ledger.edge.tenants", "{tenant}", observe)

    def observe_expiry(
        self, certificate: Callable[[], float | None], revocations: Callable[[], float | None]
    ) -> None:
        """Export when the certificate ends that callers are shown, and when its clients' revocation list does, in Unix seconds."""
        for name, read in (
            ("ledger.auth.certificate.expiry", certificate),
            ("ledger.auth.crl.expiry", revocations),
        ):
            self._gauge(name, "s", partial(_moment, read))

    def observe_pool(self, pool: str, read: Callable[[], tuple[int, int]]) -> None:
        """Export a connection pool's idle and used connections."""

        def observe() -> list[Observation]:
            idle, used = read()
            name = {"db.client.connection.pool.name": pool}
            return [
                Observation(idle, {**name, "db.client.connection.state": "idle"}),
                Observation(used, {**name, "db.client.connection.state": "used"}),
            ]

        self._gauge("db.client.connection.count", "{connection}", observe)

    def info(self, event: Event, message: str, **fields: str | int | float) -> None:
        """Log that what an operator did worked, or that something recovered."""
        self._log(event, message, SeverityNumber.INFO, None, fields)

    def warning(
        self, event: Event, message: str, *, span: Span | None = None, **fields: str | int | float
    ) -> None:
        """Log a failure that the ledger recovers from by itself."""
        self._log(event, message, SeverityNumber.WARN, span, fields)

    def error(
        self, event: Event, message: str, *, span: Span | None = None, **fields: str | int | float
    ) -> None:
        """Log a failure; `span` is the one it happened in, when it is not the current one."""
        self._log(event, message, SeverityNumber.ERROR, span, fields)

    def stop(self, timeout_s: float = 3.0) -> None:
        """Export what is queued, then stop; gives up after `timeout_s`."""
        workers = [
            threading.Thread(target=provider.shutdown, daemon=True) for provider in self._providers
        ]
        for worker in workers:
            worker.start()
        deadline = time.monotonic() + timeout_s
        for worker in workers:
            worker.join(max(deadline - time.monotonic(), 0.0))

    def _gauge(self, name: str, unit: str, observe: Callable[[], list[Observation]]) -> None:
        def callback(_: CallbackOptions) -> list[Observation]:
            return observe()

        self._meter.create_observable_gauge(name, callbacks=[callback], unit=unit)

    def _log(
        self,
        event: Event,
        message: str,
        severity: SeverityNumber,
        span: Span | None,
        fields: Mapping[str, str | int | float],
    ) -> None:
        allowed, suppressed_count = self._lines.allow(event, time.monotonic())
        if not allowed:
            return
        if suppressed_count:
            fields = {**fields, "suppressed_count": suppressed_count}
        span = span or trace.get_current_span()
        level = severity.name if severity is not SeverityNumber.WARN else "WARNING"
        write_line(level, self.service, message, event=event, span=span, fields=fields)
        self._logger.emit(
            timestamp=time.time_ns(),
            context=trace.set_span_in_context(span),
            severity_number=severity,
            severity_text=level,
            body=message,
            attributes=dict(fields),
            event_name=event,
        )


def _single(read: Callable[[], tuple[int, int] | None], index: int) -> list[Observation]:
    pair = read()
    return [] if pair is None else [Observation(pair[index])]


def _moment(read: Callable[[], float | None]) -> list[Observation]:
    ends_s = read()
    return [] if ends_s is None else [Observation(ends_s)]
