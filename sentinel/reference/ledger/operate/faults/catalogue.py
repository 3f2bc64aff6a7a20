"""Every fault by its name. Gauges are named as Sentinel's scrapers name them, of services called `nats` and `postgres`."""

from __future__ import annotations

from typing import Final

from sentinel.reference.ledger.operate.faults import (
    books,
    database,
    election,
    memory,
    queue,
    release,
    storage,
    tenants,
    traffic,
    trail,
)
from sentinel.reference.ledger.operate.faults.fault import Fault, signals
from sentinel.reference.ledger.operate.faults.processes import going_on, stopped

_EDGE: Final = "ledger-edge"
_POSTER: Final = "ledger-poster"
_WEBHOOKS: Final = "ledger-webhooks"
_COMMIT: Final = (_POSTER, "database", "COMMIT transactions")
_PROCESS: Final = (_POSTER, "consumer", "process ledger.transfers")
_PUBLISH: Final = (_EDGE, "queue", "publish ledger.transfers")
_ACCOUNTS: Final = (_EDGE, "database", "SELECT accounts")
_TRANSFERS: Final = (_EDGE, "edge", "POST /v1/transfers")
_BALANCE: Final = (_EDGE, "edge", "GET /v1/accounts/{id}/balance")
_STREAM: Final = ("nats", "queue", "LEDGER_C*")
_CONSUMER: Final = ("nats", "queue", "LEDGER_C*/poster")
_NATS: Final = ("nats", "queue", "server/*")
_DATABASE: Final = ("postgres", "database", "ledger")
_SERVER: Final = ("postgres", "database", "connections")
_LOCKS: Final = ("postgres", "database", "locks")
_WEBHOOK: Final = (_WEBHOOKS, "client", "POST webhook")
# What is accepted and not posted waits in the stream, and nobody is told of it.
_WAITS: Final = ((*_STREAM, "stream_oldest_message_age_s", "up"), (*_WEBHOOK, "traffic", "down"))
# The ledger's own metrics: Sentinel places them at this stage, by their attributes.
_DRIFT: Final = ("ledger-reconcile", "metrics")
_LIMITED: Final = (_EDGE, "metrics")

FAULTS: Final[dict[str, Fault]] = {
    # Batches and balance reads wait for the table until their time limit ends them.
    "lock": Fault(
        summary="A session holds the accounts table's strongest lock",
        expected=signals(
            (*_COMMIT, "errors", "up"),
            (*_COMMIT, "latency", "up"),
            (*_PROCESS, "errors", "up"),
            (*_PROCESS, "latency", "up"),
            (*_ACCOUNTS, "errors", "up"),
            (*_ACCOUNTS, "latency", "up"),
            (*_BALANCE, "errors", "up"),
            (*_BALANCE, "latency", "up"),
            (*_LOCKS, "sessions_blocked_count", "up"),
            *_WAITS,
        ),
        hold=database.lock,
    ),
    "slow": Fault(
        summary="The same lock is held for a second at a time, with pauses: everything works, slowly",
        expected=signals(
            (*_COMMIT, "latency", "up"),
            (*_PROCESS, "latency", "up"),
            (*_ACCOUNTS, "latency", "up"),
            (*_BALANCE, "latency", "up"),
            (*_LOCKS, "sessions_blocked_count", "up"),
        ),
        hold=database.slow,
    ),
    # The edge goes on accepting: only what the poster does falls silent.
    "stall": Fault(
        summary="The poster is stopped (SIGSTOP)",
        expected=signals((*_PROCESS, "traffic", "down"), (*_COMMIT, "traffic", "down"), *_WAITS),
        hold=stopped("poster"),
        undo=going_on("poster"),
    ),
    # A write that fails at the edge is never published, so less of everything follows.
    "errors": Fault(
        summary="The edge answers a share of the writes (`--ratio`) with 500",
        expected=signals(
            (*_TRANSFERS, "errors", "up"),
            (*_PUBLISH, "traffic", "down"),
            (*_PROCESS, "traffic", "down"),
            (*_COMMIT, "traffic", "down"),
            (*_WEBHOOK, "traffic", "down"),
        ),
        hold=traffic.errors,
        undo=traffic.lift,
    ),
    # Half of them fail, unless `--ratio` says otherwise; the endpoint goes between failing and active.
    "webhook-errors": Fault(
        summary="The receiver of webhooks answers a share of them (`--ratio`) with 503",
        expected=signals((*_WEBHOOK, "errors", "up")),
        hold=traffic.webhook_errors,
        undo=traffic.lift,
    ),
    "poison": Fault(
        summary="Messages come that nobody can read; the poster gives them up",
        expected=signals((*_CONSUMER, "events_terminated_per_s", "up")),
        hold=queue.poison,
    ),
    "loss": Fault(
        summary="The stream is purged every two minutes, with what was accepted in the last 15 s",
        expected=signals(
            (*_PROCESS, "traffic", "down"),
            (*_COMMIT, "traffic", "down"),
            (*_DRIFT, "ledger.drift.check=stream", "ledger.drift.count", "up"),
            *_WAITS,
        ),
        hold=queue.loss,
        undo=going_on("poster"),
    ),
    "unacknowledged": Fault(
        summary="Somebody takes every message in the poster's place and acknowledges none",
        expected=signals(
            (*_PROCESS, "traffic", "down"),
            (*_COMMIT, "traffic", "down"),
            (*_CONSUMER, "consumer_ack_pending_ratio", "up"),
            *_WAITS,
        ),
        hold=queue.unacknowledged,
        undo=going_on("poster"),
    ),
    "full": Fault(
        summary="The stream has hardly any room and the poster is stopped; the edge answers 503",
        expected=signals(
            (*_TRANSFERS, "errors", "up"),
            (*_PUBLISH, "errors", "up"),
            (*_PROCESS, "traffic", "down"),
            (*_STREAM, "stream_limit_ratio", "up"),
            *_WAITS,
        ),
        hold=queue.full,
        undo=queue.make_room,
    ),
    "store-full": Fault(
        summary="Another stream fills the memory that JetStream may have",
        expected=signals((*_NATS, "server_store_memory_ratio", "up")),
        hold=queue.store_full,
        undo=queue.drop_ballast,
    ),
    "slow-reader": Fault(
        summary="A client subscribes and does not read; the server cuts it off, every minute",
        expected=signals((*_NATS, "server_slow_consumers_per_s", "up")),
        hold=queue.slow_reader,
    ),
    "nats-stopped": Fault(
        summary="NATS is stopped (SIGSTOP)",
        expected=signals(
            (*_TRANSFERS, "errors", "up"),
            (*_PUBLISH, "errors", "up"),
            (*_PROCESS, "traffic", "down"),
            (*_WEBHOOK, "traffic", "down"),
            (*_NATS, "server_store_memory_ratio", "away"),
        ),
        hold=stopped("nats"),
        undo=going_on("nats"),
    ),
    # What is asked for while nobody leads waits; nothing that was accepted is lost.
    "leader-election": Fault(
        summary="The NATS server that leads is killed and kept away, and who leads then steps down every ten seconds",
        expected=signals(
            (*_STREAM, "stream_leader_changes_per_s", "up"),
            (*_STREAM, "stream_replicas_offline_count", "up"),
            (*_CONSUMER, "consumer_leader_changes_per_s", "up"),
        ),
        hold=election.leader_election,
        undo=election.let_come_back,
        needs="--nats-nodes 3",
    ),
    "reused-keys": Fault(
        summary="Keys that the queue has forgotten come again with another body",
        # Two a second are no more traffic than there is: what they move is how many messages carry a key of before.
        expected=signals(
            (
                *(_POSTER, "metrics", "ledger.transfer.outcome=conflict"),
                *("ledger.transfers.repeated", "up"),
            )
        ),
        hold=traffic.reused_keys,
    ),
    "duplicates": Fault(
        summary="The last transfers are sent again and again, 20 twice a second",
        expected=signals((*_TRANSFERS, "traffic", "up"), (*_PUBLISH, "traffic", "up")),
        hold=traffic.duplicates,
    ),
    "postgres-stopped": Fault(
        summary="PostgreSQL and its sessions are stopped (SIGSTOP)",
        expected=signals(
            (*_ACCOUNTS, "errors", "up"),
            (*_BALANCE, "errors", "up"),
            (*_COMMIT, "errors", "up"),
            (*_PROCESS, "errors", "up"),
            (*_SERVER, "connections_used_ratio", "away"),
            *_WAITS,
        ),
        hold=stopped("postgres"),
        undo=going_on("postgres"),
    ),
    "connections": Fault(
        summary="Every connection that clients can have is taken",
        expected=signals((*_SERVER, "connections_used_ratio", "up")),
        hold=database.connections,
    ),
    "deadlocks": Fault(
        summary="Two sessions wait for each other, every ten seconds",
        expected=signals((*_DATABASE, "deadlocks_per_s", "up")),
        hold=database.deadlocks,
    ),
    "slot": Fault(
        summary="A replication slot that nobody reads has lost what it needs",
        expected=signals(("postgres", "database", "slots", "slots_at_risk_count", "up")),
        hold=database.slot,
        undo=database.drop_slot,
    ),
    "archive": Fault(
        summary="Archiving the log fails",
        expected=signals(("postgres", "database", "archiver", "archiver_failing_count", "up")),
        hold=database.archive,
        undo=database.archive_again,
    ),
    # The primary sees that nothing is replayed; whoever reads without a position sees what was there before.
    "replica-lag": Fault(
        summary="The replica receives the log and replays none of it",
        expected=signals(
            ("postgres", "database", "replication", "replicas_lag_max_s", "up"),
            ("postgres", "database", "replication", "replicas_lag_max_bytes", "up"),
        ),
        hold=storage.replica_lag,
        undo=storage.replay_again,
    ),
    "slow-fsync": Fault(
        summary="Each commit takes a tenth of a second longer to be on disk",
        expected=signals((*_COMMIT, "latency", "up"), (*_PROCESS, "latency", "up")),
        hold=storage.slow_fsync,
        undo=storage.fast_fsync,
    ),
    "damage": Fault(
        summary="A page of a database made for it has another content than its checksum says",
        expected=signals(
            (
                "postgres",
                "database",
                "ledger_fault_damaged",
                "checksum_failures_count",
                "up",
            )
        ),
        hold=database.damage,
        undo=database.drop_damaged,
    ),
    "drift": Fault(
        summary="One balance is altered, of an account that nobody uses",
        expected=signals(
            (*_DRIFT, "ledger.drift.check=balance", "ledger.drift.count", "up"),
            (*_DRIFT, "ledger.drift.check=zero_sum", "ledger.drift.count", "up"),
        ),
        hold=books.drift,
        undo=books.mend,
    ),
    # Reconciliation tells of it, too; `audit verify` says that it is the trail which is wrong, and where.
    "audit-tamper": Fault(
        summary="The amount in one entry of the audit trail is altered, past the triggers",
        expected=signals((*_DRIFT, "ledger.drift.check=audit", "ledger.drift.count", "up")),
        hold=trail.audit_tamper,
        undo=trail.restore_entry,
    ),
    "hot-account": Fault(
        summary="A hundred transfers a second go between the same two accounts",
        expected=signals(
            (*_TRANSFERS, "traffic", "up"),
            (*_PUBLISH, "traffic", "up"),
            (*_PROCESS, "traffic", "up"),
            (*_WEBHOOK, "traffic", "up"),
        ),
        hold=tenants.hot_account,
    ),
    # Of the busiest tenant next to nothing is accepted any more; its client asks the more for it.
    "rate-limit": Fault(
        summary="The busiest tenant may ask once a second, by mistake, and its client asks again at once",
        expected=signals(
            (*_TRANSFERS, "traffic", "up"),
            (*_LIMITED, "ledger.tenant.tier=enterprise", "ledger.edge.limited", "up"),
            (*_PUBLISH, "traffic", "down"),
            (*_PROCESS, "traffic", "down"),
            (*_COMMIT, "traffic", "down"),
            (*_WEBHOOK, "traffic", "down"),
        ),
        hold=tenants.rate_limit,
        undo=tenants.restore_limit,
    ),
    # All is posted, later: what a bad release refuses is tried again. Its telemetry names another `service.version`, which the
    # record's parameters tell.
    "bad-release": Fault(
        summary="The poster comes back as a version that is slow and fails a share of its batches (`--ratio`), and is rolled back",
        expected=signals(
            (*_COMMIT, "errors", "up"),
            (*_COMMIT, "latency", "up"),
            (*_PROCESS, "errors", "up"),
            (*_PROCESS, "latency", "up"),
        ),
        hold=release.released("poster", beside=False),
        undo=release.roll_back,
    ),
    "canary-regression": Fault(
        summary="One of several edges comes back as a version that answers a share of its writes (`--ratio`) with 500, and is rolled back",
        expected=signals((*_TRANSFERS, "errors", "up")),
        hold=release.released("edge", beside=True, delay_s=0.0),
        undo=release.roll_back,
        needs="--edges 2",
    ),
    "memory-leak": Fault(
        summary="The poster keeps 4 MiB a second more, up to 256 MiB",
        expected=signals((_POSTER, "metrics", "all", "process.memory.usage", "up")),
        hold=memory.memory_leak,
        undo=memory.free,
    ),
}
