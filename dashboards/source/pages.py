"""Whom does Sentinel wake, why not more often, does every page arrive, and what is left of the budget?"""

from __future__ import annotations

from dashboards.source.frame import Board
from dashboards.source.kit import ANY_IS_BAD, Ask, number, rows, timeline
from dashboards.source.queries import gained, own, quiet

_WOKEN = own("sentinel_incidents_total", severity="page")


def board() -> Board:
    """The board."""
    made = Board(
        "sentinel-pages",
        "Sentinel: pages and budget",
        "Pages that went out, windows of which nobody was told and why, whether every page arrived, and how many of the budget are left.",
        range_from="now-7d",
    )
    made.instances().runbooks()
    made.pick(
        "budget",
        "Budget",
        "How many incidents a week may wake somebody. Sentinel enforces none: this is yours to compare with.",
        ("2", "1", "5", "10", "20"),
    )
    made.runbooks_of("Sentinel's pages", "Sentinel itself").incidents()
    made.events().own_alerts()
    made.row("Budget").panels(
        number(
            "Woken in 7 days",
            "Incidents of severity page that opened in the last seven days, each of which woke somebody once.",
            "none",
            Ask(f"sum(increase({_WOKEN}[7d]))"),
            decimals=1,
        ),
        number(
            "Left of the budget",
            "The chosen budget of a week minus those; below 0 it is overspent.",
            "none",
            Ask(f"$budget - sum(increase({_WOKEN}[7d]))"),
            decimals=1,
            steps=((None, "red"), (0.0, "green")),
        ),
        number(
            "Budget spent",
            "The same as a share of the chosen budget.",
            "percentunit",
            Ask(f"sum(increase({_WOKEN}[7d])) / $budget"),
            steps=((None, "green"), (0.75, "orange"), (1.0, "red")),
        ),
        number(
            "Open now",
            "Incidents that are open, pages and tickets.",
            "none",
            Ask(f"sum({own('sentinel_incidents_open')})"),
        ),
        number(
            "Not delivered",
            "Pages in the outbox that no destination has taken yet.",
            "none",
            Ask(quiet(f"sum({own('sentinel_outbox_entries')})")),
            steps=ANY_IS_BAD,
        ),
        number(
            "Parked",
            "Pages that a destination refused for good since the sidecar started.",
            "none",
            Ask(quiet(f"sum({own('sentinel_pages_parked_total')})")),
            steps=ANY_IS_BAD,
        ),
    )
    made.row("What went out, and what did not").panels(
        timeline(
            "Woken, in the last 7 days",
            "The sum over seven days at each moment, by sidecar; the budget is a week's.",
            "none",
            Ask(f"sum by (instance) (increase({_WOKEN}[7d]))", "{{instance}}"),
            Ask("vector($budget)", "budget"),
        ),
        timeline(
            "Incidents opened",
            "In an hour, by kind and severity.",
            "none",
            Ask(gained("sentinel_incidents_total", "kind", "severity"), "{{severity}}: {{kind}}"),
        ),
        timeline(
            "Pages decided",
            "In an hour, by reason; in shadow mode they are withheld.",
            "none",
            Ask(gained("sentinel_pages_total", "reason"), "{{reason}}"),
            Ask(quiet(gained("sentinel_pages_withheld_total", "reason")), "withheld: {{reason}}"),
        ),
        timeline(
            "Stood out, and nobody was told",
            "Windows of an hour by the first gate that stopped them; sentinel preview --gates says which.",
            "none",
            Ask(quiet(gained("sentinel_stopped_windows_total", "gate")), "{{gate}}"),
        ),
    )
    made.row("Does every page arrive").panels(
        timeline(
            "Oldest page not yet delivered",
            "By destination; it waits and is tried again. From five minutes on it alerts.",
            "s",
            Ask(own("sentinel_outbox_oldest_seconds"), "{{instance}} {{destination}}"),
            limit=300.0,
            width=8,
        ),
        timeline(
            "Outbox",
            "Pages not yet delivered, by destination.",
            "none",
            Ask(own("sentinel_outbox_entries"), "{{instance}} {{destination}}"),
            width=8,
        ),
        timeline(
            "Attempts",
            "In an hour, by destination and result.",
            "none",
            Ask(
                gained("sentinel_sends_total", "destination", "result"),
                "{{destination}} {{result}}",
            ),
            width=8,
        ),
        timeline(
            "Delivered, parked, dropped",
            "In an hour, by destination; parked was refused for good, dropped had no destination or no store any more.",
            "none",
            Ask(
                gained("sentinel_pages_delivered_total", "destination"),
                "{{destination}} delivered",
            ),
            Ask(
                quiet(gained("sentinel_pages_parked_total", "destination")),
                "{{destination}} parked",
            ),
            Ask(
                quiet(gained("sentinel_outbox_dropped_total", "destination", "reason")),
                "{{destination}} dropped: {{reason}}",
            ),
            width=8,
        ),
        timeline(
            "Heartbeat",
            "Seconds since the dead man's heartbeat went out to each Alertmanager.",
            "s",
            Ask(
                f"time() - {own('sentinel_heartbeat_timestamp_seconds')}",
                "{{instance}} {{destination}}",
            ),
            width=8,
        ),
        timeline(
            "Silences in Alertmanager",
            "How many are active: what they match is not told to anybody, and Sentinel does not know of it.",
            "none",
            Ask('sum by (instance) (alertmanager_silences{state="active"})', "{{instance}}"),
            width=8,
        ),
        rows(
            "Destinations",
            "Pages each destination has taken since the sidecar started.",
            "none",
            Ask(f"sum by (instance, destination) ({own('sentinel_pages_delivered_total')})"),
            columns=["instance", "destination"],
            value="delivered",
            height=6,
        ),
    )
    return made
