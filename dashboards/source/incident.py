"""What is this incident: who moved first, what followed, and which calls show it?"""

from __future__ import annotations

from dashboards.source.frame import HEALTH_BOARD, PAGES_BOARD, SERIES_BOARD, Board
from dashboards.source.kit import Ask, Link, number, rows, timeline
from dashboards.source.runbooks import RUNBOOKS
from dashboards.source.series import calls_with_traces

_OF = 'incident="$incident"'
_START = f"last_over_time(sentinel_incident_start_timestamp_seconds{{{_OF}}}[$__range])"
_MEMBER = f"sentinel_incident_member_start_timestamp_seconds{{{_OF}}}"
_IS_MEMBER = f"on (instance, service, stage, route, signal) {_MEMBER}"
_TO_SERIES = Link(
    "This series",
    f"{SERIES_BOARD}&var-service=${{__data.fields.service}}&var-stage=${{__data.fields.stage}}"
    "&var-route=${__data.fields.route}&var-signal=${__data.fields.signal}",
)
_KINDS = (
    ("Anomaly", "SentinelAnomaly"),
    ("Guard", "SentinelGuard"),
    ("Blind", "SentinelBlind"),
    ("Late", "SentinelLate"),
    ("Drift", "SentinelDrift"),
)


def board() -> Board:
    """The board."""
    made = Board(
        "sentinel-incident",
        "Sentinel: one incident",
        "One incident: who stood out when, in the order it went through the pipeline, and calls that show it.",
        range_from="now-3h",
    )
    made.choice(
        "of",
        "Incidents of",
        "label_values(sentinel_incident_start_timestamp_seconds, service)",
        many=True,
    )
    made.choice(
        "incident",
        "Incident",
        'label_values(sentinel_incident_start_timestamp_seconds{service=~"$of"}, incident)',
        newest_first=True,
    )
    made.choice("service", "Service", f"label_values({_MEMBER}, service)", many=True)
    made.text(
        "sentinel",
        "Sentinel",
        "Where people reach the sidecar's own pages, for the words of the page and its log lines.",
        "http://127.0.0.1:9640",
    )
    made.runbooks()
    made.link("The words of its page", "${sentinel}/api/v1/incidents?limit=100")
    for kind, runbook in _KINDS:
        made.link(f"Runbook: {kind}", f"{RUNBOOKS}/{runbook}.md")
    made.link("Sentinel's own health", HEALTH_BOARD).link("Pages and budget", PAGES_BOARD)
    made.events("$service")
    made.row("$incident").panels(
        number(
            "Began",
            "Start of the first strange window.",
            "dateTimeAsIso",
            Ask(f"1000 * max({_START})"),
            width=6,
        ),
        number(
            "Members",
            "Series that stood out in it so far, as far as /metrics/series tells: the first twenty.",
            "none",
            Ask(f"count(last_over_time({_MEMBER}[$__range]))"),
            width=3,
        ),
        number(
            "Highest score now",
            "Of its members, over any horizon; below 1 all are back inside their bands and it resolves when they stay there.",
            "none",
            Ask(f"max(sentinel_score and {_IS_MEMBER})"),
            width=3,
            decimals=2,
        ),
        rows(
            "What it is",
            "Kind and severity; the runbook of the kind is linked at the top. The number is its age.",
            "s",
            Ask(f"time() - {_START}"),
            columns=["service", "kind", "severity", "instance"],
            value="age",
            width=12,
            height=4,
        ),
    )
    made.row("Who moved, in order").panels(
        rows(
            "Members in the order they stood out",
            "Start of each member's first strange window, earliest first: in a pipeline the order says where it came from. It is"
            " precedence, not cause.",
            "dateTimeAsIso",
            Ask(f"1000 * last_over_time({_MEMBER}[$__range])"),
            columns=["service", "stage", "route", "signal"],
            value="stood out",
            width=14,
            links=[_TO_SERIES],
            falling=False,
        ),
        rows(
            "First mover",
            "The series that left its band first, and its lead on the next one. Empty where there is no clear one.",
            "s",
            Ask(f"last_over_time(sentinel_incident_first_mover_lead_seconds{{{_OF}}}[$__range])"),
            columns=["service", "stage", "route", "signal"],
            value="lead",
            width=10,
            links=[_TO_SERIES],
        ),
        timeline(
            "Scores of its members",
            "From 1 on a series is outside its band.",
            "none",
            Ask(
                f"max without (horizon) (sentinel_score) and {_IS_MEMBER}",
                "{{stage}}: {{service}} {{route}} {{signal}}",
            ),
            limit=1.0,
        ),
        timeline(
            "How far from what was expected",
            "Value over expectation of each member; 1 is as expected. Where nothing was expected at all there is no line.",
            "none",
            Ask(
                '(sentinel_value{horizon=""} / (sentinel_expected{horizon=""} > 0))'
                f" and {_IS_MEMBER}",
                "{{stage}}: {{service}} {{route}} {{signal}}",
            ),
        ),
    )
    made.row("Calls that show it").panels(
        calls_with_traces('service=~"$service"', width=24),
    )
    made.row("Its services meanwhile").panels(
        timeline(
            "Calls",
            "Calls a second at each stage of the services that are part of it.",
            "reqps",
            Ask(
                'sum by (service, stage) (sentinel_value{service=~"$service", signal="traffic",'
                ' horizon=""})',
                "{{service}} {{stage}}",
            ),
        ),
        timeline(
            "Failed calls",
            "The largest share of failed calls among the routes of each stage.",
            "percentunit",
            Ask(
                'max by (service, stage) (sentinel_value{service=~"$service", signal="errors",'
                ' horizon=""})',
                "{{service}} {{stage}}",
            ),
        ),
    )
    return made
