"""Which services are not as usual now?"""

from __future__ import annotations

from dashboards.source.frame import INCIDENT_BOARD, SERIES_BOARD, Board, incidents_of
from dashboards.source.kit import ANY_IS_BAD, ONE_IS_STRANGE, Ask, Link, number, rows, timeline
from dashboards.source.queries import quiet, window

_ALL = 'instance=~"$instance", service=~"$service"'
_SCORE = f"max without (horizon) (sentinel_score{{{_ALL}}})"
_OPEN = f"sentinel_incident_start_timestamp_seconds{{{_ALL}}}"
TO_SERIES = Link(
    "This series",
    f"{SERIES_BOARD}&var-instance=${{__data.fields.instance}}&var-service=${{__data.fields.service}}"
    "&var-stage=${__data.fields.stage}&var-route=${__data.fields.route}"
    "&var-signal=${__data.fields.signal}",
)


def board() -> Board:
    """The board."""
    made = Board(
        "sentinel-fleet",
        "Sentinel: fleet",
        "Which services are not as usual now, which of their series, and what is open. Start here.",
    )
    made.choice("instance", "Sidecar", "label_values(sentinel_value, instance)", many=True)
    made.choice(
        "service",
        "Service",
        'label_values(sentinel_value{instance=~"$instance"}, service)',
        many=True,
    )
    made.pick(
        "share",
        "Share from",
        "Services with a smaller share of strange series are left out of the table.",
        ("0", "0.01", "0.05", "0.1", "0.25"),
    )
    made.runbooks().runbooks_of("Sentinel's pages", "service levels", "the gateway").incidents()
    made.events("$service").own_alerts()
    made.alerts("Alerts of services", "ServiceLevel.*|Gateway.*|Ledger.*|Nats.*|Postgres.*")
    made.row("Now").panels(
        number(
            "Incidents open",
            "Incidents that are open now, pages and tickets.",
            "none",
            Ask(quiet(f"sum(count by (severity) ({_OPEN}))")),
            steps=ANY_IS_BAD,
            links=[Link("The incidents", INCIDENT_BOARD)],
        ),
        number(
            "Services with an incident",
            "Services of which at least one incident is open.",
            "none",
            Ask(quiet(f"count(count by (service) ({_OPEN}))")),
            steps=ANY_IS_BAD,
        ),
        number(
            "Series outside their band",
            "Series whose score is 1 or more now, over any horizon. A few of thousands are usual: one is no page.",
            "none",
            Ask(f"sum({_SCORE} >= bool 1)"),
        ),
        number(
            "Series scored",
            "Series on /metrics/series that have a score now: routes that are always shown, and the strangest others.",
            "none",
            Ask(f"count({_SCORE})"),
        ),
        number(
            "Highest score",
            "The strangest value of all now; 1 is the edge of its band.",
            "none",
            Ask(f"max({_SCORE})"),
            steps=ONE_IS_STRANGE,
            decimals=2,
        ),
        number(
            "Left out",
            "Open incidents, and members of those told, beyond the bound of /metrics/series: this board does not show them.",
            "none",
            Ask('sum(sentinel_incidents_left_out{instance=~"$instance"})'),
            steps=ANY_IS_BAD,
        ),
    )
    made.row("Services").panels(
        rows(
            "Share of strange series",
            "Of each service's series, how many are outside their band now; those from the chosen share on, worst first; a click opens the incidents of one.",
            "percentunit",
            Ask(
                f"sum by (service) ({_SCORE} >= bool 1) / count by (service) ({_SCORE}) >= $share"
            ),
            columns=["service"],
            value="share",
            width=8,
            links=[Link("Its incidents", incidents_of("${__data.fields.service}"))],
            steps=((None, "green"), (0.05, "orange"), (0.25, "red")),
        ),
        timeline(
            "Highest score by service",
            "The strangest series of each service over time; from 1 on something is outside its band.",
            "none",
            Ask(f"max by (service) ({_SCORE})", "{{service}}"),
            width=16,
            height=9,
            limit=1.0,
        ),
        rows(
            "Strangest series",
            "The twenty strangest series now, over any horizon; a click opens one on its own board.",
            "none",
            Ask(f"topk(20, {_SCORE})"),
            columns=["instance", "service", "stage", "route", "signal"],
            value="score",
            links=[TO_SERIES],
            steps=ONE_IS_STRANGE,
        ),
    )
    made.row("Open incidents").panels(
        rows(
            "What is open, and since when",
            "Open incidents and for how long each has been, newest first; a click opens one on its own board, with the stages in the order they moved.",
            "s",
            Ask(quiet(f"time() - {_OPEN}")),
            columns=["incident", "service", "kind", "severity"],
            value="open for",
            links=[
                Link("This incident", f"{INCIDENT_BOARD}&var-incident=${{__data.fields.incident}}")
            ],
            falling=False,
        ),
    )
    made.row("Traffic, errors, latency").panels(
        timeline(
            "Calls",
            "Calls a second of each service and stage, all routes together.",
            "reqps",
            Ask(
                f"sum by (service, stage) ({_shown('sentinel_value', 'traffic')})",
                "{{service}} {{stage}}",
            ),
            width=8,
        ),
        timeline(
            "Failed calls",
            "The largest share of failed calls among the routes of each service and stage.",
            "percentunit",
            Ask(
                f"max by (service, stage) ({_shown('sentinel_value', 'errors')})",
                "{{service}} {{stage}}",
            ),
            width=8,
        ),
        timeline(
            "95th percentile of durations",
            "Of the slowest route of each service and stage, where durations are known.",
            "s",
            Ask(
                f'max by (service, stage) (sentinel_latency_seconds{{quantile="0.95", {_ALL}}})',
                "{{service}} {{stage}}",
            ),
            width=8,
        ),
    )
    return made


def _shown(metric: str, signal: str) -> str:
    return window(metric, instance="~$instance", service="~$service", signal=signal)
