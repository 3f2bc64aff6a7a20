"""Is NATS well, and does anything pile up in JetStream?"""

from __future__ import annotations

from collections.abc import Sequence

from dashboards.source.fleet import TO_SERIES
from dashboards.source.frame import Board
from dashboards.source.kit import ANY_IS_BAD, ONE_IS_STRANGE, Ask, Panel, number, rows, timeline
from dashboards.source.queries import quiet, window
from dashboards.source.series import band


def board() -> Board:
    """The board."""
    made = Board(
        "sentinel-nats",
        "Sentinel: NATS and JetStream",
        "Servers, streams and consumers as scrapers.nats sees them: what piles up, what is delivered again, what runs full.",
        range_from="now-3h",
    )
    made.choice(
        "nats",
        "NATS",
        'label_values(sentinel_value{stage="queue", signal="server_connection_count"}, service)',
    )
    made.choice(
        "consumer",
        "Consumer",
        'label_values(sentinel_value{service="$nats", signal="consumer_backlog_count"}, route)',
    )
    made.runbooks().runbooks_of("NATS", "Sentinel's pages").incidents()
    made.events().alerts("Alerts of NATS", "Nats.*")
    made.row("Now").panels(*_now())
    made.row("Consumers").panels(*_consumers())
    made.row("Streams").panels(*_streams())
    made.row("Servers").panels(*_servers())
    made.row("What stands out").panels(
        rows(
            "Strangest series of NATS",
            "By score, over any horizon; a click opens one on its own board.",
            "none",
            Ask('topk(15, max without (horizon) (sentinel_score{service="$nats"}))'),
            columns=["instance", "service", "stage", "route", "signal"],
            value="score",
            steps=ONE_IS_STRANGE,
            links=[TO_SERIES],
        ),
    )
    return made


def _now() -> list[Panel]:
    return [
        number(
            "Backlog of all",
            "Messages of all consumers that are not delivered or not acknowledged.",
            "none",
            Ask(f"sum({_of('consumer_backlog_count')})"),
        ),
        number(
            "Oldest not acknowledged",
            "Age of the oldest message that any consumer has not acknowledged.",
            "s",
            Ask(f"max({_of('consumer_oldest_unacked_age_s')})"),
        ),
        number(
            "Fullest stream",
            "Of the limits of messages and bytes of each stream that has one.",
            "percentunit",
            Ask(f"max({_of('stream_limit_ratio')})"),
            steps=((None, "green"), (0.8, "orange"), (0.95, "red")),
            decimals=1,
        ),
        number(
            "Fullest storage",
            "JetStream's file storage against max_file, of the fullest server; at 95 % Sentinel pages by itself.",
            "percentunit",
            Ask(f"max({_of('server_store_ratio')})"),
            steps=((None, "green"), (0.8, "orange"), (0.95, "red")),
            decimals=1,
        ),
        number(
            "Servers that do not answer",
            "Of those whose addresses are configured.",
            "none",
            Ask(f"max({_of('cluster_unanswered_count')})"),
            steps=ANY_IS_BAD,
        ),
        number(
            "Lost messages",
            "Messages that streams have lost by damage; Sentinel pages by itself.",
            "none",
            Ask(f"sum({_of('stream_lost_count')})"),
            steps=ANY_IS_BAD,
        ),
    ]


def _consumers() -> list[Panel]:
    return [
        band(
            "Backlog of the chosen consumer, and the band",
            "Messages that are not delivered or not acknowledged, against what is usual for this hour of this weekday.",
            {
                "service": "$nats",
                "stage": "queue",
                "route": "$consumer",
                "signal": "consumer_backlog_count",
            },
            unit="none",
            width=12,
        ),
        _lines(
            "Backlog by consumer",
            "It grows where a consumer is slower than its stream.",
            "none",
            ["consumer_backlog_count"],
            width=12,
            height=11,
        ),
        _lines(
            "Delivered, and again",
            "Messages a second; what is delivered again was not acknowledged in time.",
            "cps",
            ["consumer_delivered_per_s", "consumer_redelivered_per_s"],
        ),
        _lines(
            "Oldest not acknowledged, last delivery",
            "Ages of the oldest message that is not acknowledged and of the last delivery.",
            "s",
            ["consumer_oldest_unacked_age_s", "consumer_last_delivery_age_s"],
        ),
        _lines(
            "Room for acknowledgements",
            "Delivered and not acknowledged, of max_ack_pending; at 1 delivery stops.",
            "percentunit",
            ["consumer_ack_pending_ratio"],
            limit=1.0,
        ),
    ]


def _streams() -> list[Panel]:
    return [
        _lines(
            "Messages",
            "How many messages each stream holds.",
            "none",
            ["stream_message_count"],
        ),
        _lines("Size", "Bytes that each stream holds.", "bytes", ["stream_bytes"]),
        _lines(
            "Stored and removed",
            "Messages a second, by stream.",
            "cps",
            ["stream_stored_per_s", "stream_removed_per_s"],
        ),
        _lines(
            "Share of its limit",
            "Of max_msgs or max_bytes, whichever is nearer; at 1 the oldest goes, or publishing is refused.",
            "percentunit",
            ["stream_limit_ratio"],
            limit=0.95,
        ),
        _lines(
            "Age of the last message",
            "How long nothing was published.",
            "s",
            ["stream_last_message_age_s"],
        ),
        timeline(
            "Advisories",
            "What JetStream tells of by itself, a second: deliveries given up, messages terminated, leaders elected, lost majorities.",
            "cps",
            Ask(quiet(_by("route", "signal", of=_of("~events_.+_per_s"))), "{{route}} {{signal}}"),
            width=8,
        ),
    ]


def _servers() -> list[Panel]:
    return [
        _lines(
            "Messages in and out",
            "Messages a second, by server.",
            "cps",
            ["server_in_messages_per_s", "server_out_messages_per_s"],
        ),
        _lines(
            "Connections",
            "Clients, routes to other servers and leaf nodes.",
            "none",
            ["server_connection_count", "server_route_count", "server_leafnode_count"],
        ),
        _lines(
            "Clients that cannot follow",
            "Slow consumers, stale connections and stalled clients a second.",
            "cps",
            [
                "server_slow_consumers_per_s",
                "server_stale_connections_per_s",
                "server_stalled_clients_per_s",
            ],
        ),
        _lines("Memory", "Resident memory of each server.", "bytes", ["server_memory_bytes"]),
        _lines("Processor", "Share of one core, by server.", "percentunit", ["server_cpu_ratio"]),
        _lines(
            "JetStream's API",
            "Requests and errors a second: clients that make or ask for streams and consumers.",
            "reqps",
            ["server_api_requests_per_s", "server_api_errors_per_s"],
        ),
    ]


def _lines(
    title: str,
    why: str,
    unit: str,
    signals: Sequence[str],
    *,
    width: int = 8,
    height: int = 8,
    limit: float | None = None,
) -> Panel:
    """Some signals of every route."""
    pattern = signals[0] if len(signals) == 1 else f"~{'|'.join(signals)}"
    legend = "{{route}}" if len(signals) == 1 else "{{route}} {{signal}}"
    return timeline(
        title,
        why,
        unit,
        Ask(_by("route", "signal", of=_of(pattern)), legend),
        width=width,
        height=height,
        limit=limit,
    )


def _of(signal: str) -> str:
    return window("sentinel_value", service="$nats", stage="queue", signal=signal)


def _by(*labels: str, of: str) -> str:
    return f"max by ({', '.join(labels)}) ({of})"
