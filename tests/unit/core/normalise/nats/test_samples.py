"""Goal: each stream and consumer of a cluster counts once, whoever answers, and nothing that moves makes a fall or a spike.

Method: polls made by hand, reduced one after another as a target would, with leaders that move, followers that lag, servers that
are away and assets that are made anew.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sentinel.core.model import KNOWN_GAUGES, Reading, SampleBatch, SeriesKey, known_gauge
from sentinel.core.normalise.nats import (
    AdvisoryKind,
    NatsLimits,
    NatsSamples,
    Reduced,
    ServerAnswer,
)
from sentinel.core.series import Aggregator
from sentinel.core.series.settings import SeriesSettings
from tests.support.nats_answers import (
    NOW_NS,
    SECOND_NS,
    answer,
    consumer,
    group,
    points,
    recorded,
    stream,
    told,
    values,
)

STEP_NS = 10 * SECOND_NS
NAMES = ("n1", "n2", "n3")


class Polls:
    """Polls of one service, an interval apart."""

    def __init__(self, **limits: Any) -> None:
        self.samples = NatsSamples("nats", limits=NatsLimits(**limits))
        self.at_ns = NOW_NS

    def poll(
        self, *answers: ServerAnswer, unanswered: tuple[str, ...] = (), source: str = "main"
    ) -> Reduced:
        """The next poll, an interval later."""
        self.at_ns += STEP_NS
        return self.samples.reduce(
            answers, source=source, unanswered=unanswered, now_ns=self.at_ns
        )


def clustered(
    leader: str | None,
    *,
    consumer_leader: str | None = "same",
    names: tuple[str, ...] = NAMES,
    last_seq: int = 100,
    **of_consumer: Any,
) -> list[ServerAnswer]:
    """A stream of three replicas with one consumer, as each of the servers tells of it."""
    led_by = leader if consumer_leader == "same" else consumer_leader
    answers = []
    for name in names:
        others = [{"name": one, "current": True} for one in NAMES if one != name]
        told = dict(of_consumer)
        if name != led_by:
            told["pending"] = 0
        own = consumer(cluster=group(led_by, *others), **told)
        answers.append(
            answer(
                name,
                stream("ORDERS", own, cluster=group(leader, *others), last_seq=last_seq),
                meta={**group("n2", *others), "cluster_size": 3},
            )
        )
    return answers


def total(batch: SampleBatch, route: str, signal: str) -> float:
    return values(batch, route)[signal]


def test_recorded_cluster_is_counted_once_by_the_consumers_own_leader() -> None:
    """The stream's leader is n3, the consumer's n2; a sum over servers would be 270, n3's own word 10."""
    answers = [recorded(f"cluster_{name}_2_15") for name in NAMES]
    found = Polls().poll(*answers)
    backlog = [one for one in told(found.batch) if one.signal == "consumer_backlog_count"]
    assert [(one.scope.route, one.value) for one in backlog] == [("ORDERS/poster", 90.0)]
    assert len([one for one in told(found.batch) if one.signal == "stream_message_count"]) == 2
    assert found.notes == ()
    assert found.batch.services == {"nats"}


def test_recorded_single_server_needs_no_cluster() -> None:
    found = Polls().poll(recorded("single_2_9"))
    assert values(found.batch, "ORDERS/poster")["consumer_backlog_count"] == 90.0
    assert "cluster_leaderless_count" not in values(found.batch, "cluster")
    assert "stream_leaderless_count" not in values(found.batch, "ORDERS")


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
@pytest.mark.parametrize("leader", NAMES)
def test_every_server_answers_in_any_order_and_the_leader_counts(
    leader: str, order: tuple[int, ...]
) -> None:
    answers = clustered(leader, consumer_leader="n2")
    found = Polls().poll(*(answers[at] for at in order)).batch
    assert total(found, "ORDERS", "stream_message_count") == 100
    assert total(found, "ORDERS/poster", "consumer_backlog_count") == 90
    assert len({(one.scope, one.signal) for one in told(found)}) == len(told(found))


def test_several_targets_of_one_cluster_say_each_thing_once() -> None:
    """Three targets with a server each: a sum or a mean over them would be wrong."""
    polls = Polls()
    aggregator = Aggregator(SeriesSettings(), start_ns=NOW_NS)
    for at, name in enumerate(NAMES):
        batch = polls.samples.reduce(
            clustered("n1", consumer_leader="n3", names=(name,)),
            source=name,
            unanswered=(),
            now_ns=NOW_NS + at * SECOND_NS,
        ).batch
        aggregator.add(batch, NOW_NS + at * SECOND_NS)
    (window,) = aggregator.close(NOW_NS + 16 * SECOND_NS).windows
    by_name = {
        (key.route, key.signal): value
        for key, value in zip(window.keys, window.value, strict=True)
    }
    assert by_name["ORDERS", "stream_message_count"] == 100
    assert by_name["ORDERS/poster", "consumer_backlog_count"] == 90
    assert by_name["ORDERS", "stream_leaderless_count"] == 0


def test_a_leader_that_moves_between_polls_is_told_once_and_moves_no_figure() -> None:
    polls = Polls()
    polls.poll(*clustered("n1", last_seq=100, delivered=20))
    before = polls.poll(*clustered("n1", last_seq=200, delivered=40)).batch
    moved = polls.poll(*clustered("n3", last_seq=300, delivered=60)).batch
    after = polls.poll(*clustered("n3", last_seq=400, delivered=80)).batch
    assert [total(one, "ORDERS", "stream_stored_per_s") for one in (before, moved, after)] == [
        100,
        200,
        300,
    ]
    assert [
        total(one, "ORDERS", "stream_leader_changes_per_s") for one in (before, moved, after)
    ] == [0, 1, 1]
    assert total(after, "ORDERS/poster", "consumer_leader_changes_per_s") == 1
    (line,) = [
        one for one in moved.logs if "ORDERS leads" not in one.body and "/poster" not in one.body
    ]
    assert (line.event, line.body) == (
        "nats.leader_changed",
        "n3 leads ORDERS now, and n1 did before",
    )


def test_two_that_call_themselves_leader_are_not_added() -> None:
    """Asked one after another while the leader moves, both say that they lead: the later election counts."""
    old = answer("n1", stream("ORDERS", cluster=group("n1", since_ns=NOW_NS), messages=70))
    new = answer(
        "n2", stream("ORDERS", cluster=group("n2", since_ns=NOW_NS + SECOND_NS), messages=80)
    )
    for answers in ((old, new), (new, old)):
        found = Polls().poll(*answers).batch
        assert total(found, "ORDERS", "stream_message_count") == 80
        assert len([one for one in told(found) if one.signal == "stream_message_count"]) == 1


def test_without_a_leader_there_is_no_value_and_soon_it_is_said() -> None:
    """A gap is neither nought nor what was true before; an election that is under way is no fault yet."""
    polls = Polls()
    polls.poll(*clustered("n1"))
    first = polls.poll(*clustered(None))
    assert "stream_message_count" not in values(first.batch, "ORDERS")
    assert values(first.batch, "ORDERS/poster").keys() == {
        "consumer_leader_changes_per_s",
        "consumer_leaderless_count",
    }
    assert total(first.batch, "ORDERS", "stream_leaderless_count") == 0
    second = polls.poll(*clustered(None))
    assert total(second.batch, "ORDERS", "stream_leaderless_count") == 1
    assert {one.event for one in second.batch.logs} == {"nats.no_leader"}
    again = polls.poll(*clustered("n1"))
    assert total(again.batch, "ORDERS", "stream_leaderless_count") == 0
    assert total(again.batch, "ORDERS", "stream_leader_changes_per_s") == 0


def test_a_leader_that_nobody_asks_is_named_and_has_no_figures() -> None:
    polls = Polls()
    found = polls.poll(*clustered("n3", names=("n1",)))
    assert "stream_message_count" not in values(found.batch, "ORDERS")
    assert total(found.batch, "ORDERS", "stream_leaderless_count") == 0
    assert found.notes == (
        "2 streams and consumers are led by servers that are not asked:"
        " the cluster has 3, and 1 of them are configured",
    )
    moved = polls.poll(*clustered("n2", names=("n1",)))
    assert total(moved.batch, "ORDERS", "stream_leader_changes_per_s") == 1


def test_an_old_word_on_a_server_that_speaks_for_itself_is_no_change() -> None:
    """n2 still names n1, and n1 is asked and no longer leads: who leads is not known, and nothing has changed twice."""
    polls = Polls()
    polls.poll(*clustered("n1"))
    old = clustered("n1", names=("n2",))[0]
    own = clustered(None, names=("n1",))[0]
    polls.poll(old, own)
    found = polls.poll(*clustered("n3")).batch
    assert total(found, "ORDERS", "stream_leader_changes_per_s") == 1


def test_a_server_that_is_away_is_named_and_costs_no_other() -> None:
    polls = Polls()
    found = polls.poll(*clustered("n1", names=("n1", "n2")), unanswered=("n3:8222",))
    assert found.notes == ("no answer from n3:8222",)
    assert total(found.batch, "cluster", "cluster_unanswered_count") == 1
    assert total(found.batch, "ORDERS/poster", "consumer_backlog_count") == 90


def test_a_new_leader_that_is_a_little_behind_makes_no_spike() -> None:
    """Its counters are below the last reading: taken for a restart, all that was ever delivered came in one window."""
    polls = Polls()
    polls.poll(*clustered("n1", delivered=1000, last_seq=1000))
    polls.poll(*clustered("n2", delivered=950, last_seq=980))
    found = polls.poll(*clustered("n2", delivered=1010, last_seq=1020)).batch
    assert total(found, "ORDERS/poster", "consumer_delivered_per_s") == 10
    assert total(found, "ORDERS", "stream_stored_per_s") == 20


def test_what_is_lost_for_good_is_counted_on_from_where_it_is() -> None:
    """Messages that a crash took are never numbered again up to the old mark: the rate would be nought for hours."""
    polls = Polls()
    batches = [
        polls.poll(*clustered("n1", last_seq=last_seq)).batch
        for last_seq in (1000, 500, 510, 520, 560)
    ]
    assert total(batches[-1], "ORDERS", "stream_stored_per_s") == 40


def test_a_stream_that_is_made_anew_has_what_it_was_given_since() -> None:
    polls = Polls()
    polls.poll(answer("n1", stream(last_seq=1000)))
    found = polls.poll(answer("n1", stream(last_seq=30, created_ns=NOW_NS + SECOND_NS))).batch
    assert total(found, "ORDERS", "stream_stored_per_s") == 30


def test_what_is_there_at_the_first_sight_was_not_gained_and_what_is_made_later_was() -> None:
    polls = Polls()
    first = polls.poll(answer("n1", stream("OLD", consumer(delivered=500), last_seq=700))).batch
    assert total(first, "OLD", "stream_stored_per_s") == 0
    assert total(first, "OLD/poster", "consumer_delivered_per_s") == 0
    made_ns = NOW_NS + SECOND_NS
    new = stream("NEW", consumer(delivered=5, created_ns=made_ns), last_seq=7, created_ns=made_ns)
    told_ns = NOW_NS + STEP_NS
    second = polls.poll(answer("n1", stream("OLD", last_seq=700), new, now_ns=told_ns)).batch
    assert total(second, "NEW", "stream_stored_per_s") == 7
    assert total(second, "NEW/poster", "consumer_delivered_per_s") == 5


def test_redeliveries_are_what_moved_the_stream_no_further() -> None:
    polls = Polls()
    polls.poll(answer("n1", stream("ORDERS", consumer(delivered=20, stream_seq=20))))
    found = polls.poll(
        answer("n1", stream("ORDERS", consumer(delivered=32, stream_seq=25, redelivered=4)))
    ).batch
    assert total(found, "ORDERS/poster", "consumer_redelivered_per_s") == 7
    assert total(found, "ORDERS/poster", "consumer_redelivered_count") == 4
    # A filter skips messages, which hides repeats: those that are out are at least there.
    found = polls.poll(
        answer("n1", stream("ORDERS", consumer(delivered=36, stream_seq=90, redelivered=6)))
    ).batch
    assert total(found, "ORDERS/poster", "consumer_redelivered_per_s") == 9


def test_the_oldest_unacknowledged_waits_since_it_was_seen() -> None:
    polls = Polls()

    def age(**of_consumer: Any) -> float:
        now_ns = polls.at_ns + STEP_NS
        own = consumer(delivered_ns=now_ns - 2 * SECOND_NS, **of_consumer)
        found = polls.poll(answer("n1", stream("ORDERS", own), now_ns=now_ns)).batch
        return total(found, "ORDERS/poster", "consumer_oldest_unacked_age_s")

    assert age(delivered=20, floor=20, ack_pending=0) == 0
    # Never more than is known: the newest delivery is two seconds old.
    assert age(delivered=21, floor=20, ack_pending=1) == pytest.approx(2)
    assert age(delivered=30, floor=20, ack_pending=10) == pytest.approx(12)
    assert age(delivered=40, floor=20, ack_pending=20) == pytest.approx(22)
    # The floor moved on; what waits now was out at the poll before.
    assert age(delivered=45, floor=35, ack_pending=10) == pytest.approx(10)
    assert age(delivered=90, floor=80, ack_pending=10) == pytest.approx(2)
    assert age(delivered=95, floor=95, ack_pending=0) == 0


def test_consumers_with_made_up_names_are_put_together() -> None:
    """A name that comes and goes with each connection would be a new series each time."""
    polls = Polls()

    def poll(number: int) -> Reduced:
        names = (f"aB{number}", f"cD{number}")
        own = [consumer(name, durable=False, pending=3, ack_pending=1) for name in names]
        return polls.poll(answer("n1", stream("ORDERS", *own, consumer())))

    found = [poll(number) for number in range(5)][-1]
    routes = {one.scope.route for one in told(found.batch)}
    assert {one for one in routes if "/" in one and "server" not in one} == {
        "ORDERS/(ephemeral)",
        "ORDERS/poster",
    }
    assert total(found.batch, "ORDERS/(ephemeral)", "consumer_backlog_count") == 8


def test_beyond_the_limit_the_most_backlogged_are_kept_and_the_rest_counted() -> None:
    polls = Polls(consumer_count_max=2)
    small = [consumer(f"c{at}", pending=at, ack_pending=0) for at in range(5)]
    found = polls.poll(answer("n1", stream("ORDERS", *small)))
    kept = {one.scope.route for one in told(found.batch) if one.signal == "consumer_backlog_count"}
    assert kept == {"ORDERS/c3", "ORDERS/c4"}
    assert found.left_out_count == 3
    assert found.batch.rejected_count == 3
    assert found.notes == ("3 streams and consumers are beyond the limits",)
    # One that is a little larger does not push out a series that has a baseline; one that matters does.
    small[0] = consumer("c0", pending=50, ack_pending=0)
    again = polls.poll(answer("n1", stream("ORDERS", *small)))
    assert "ORDERS/c0" not in {one.scope.route for one in told(again.batch)}
    small[0] = consumer("c0", pending=5000, ack_pending=0)
    again = polls.poll(answer("n1", stream("ORDERS", *small)))
    assert "ORDERS/c0" in {one.scope.route for one in told(again.batch)}


def test_streams_beyond_the_limit_take_their_consumers_along() -> None:
    found = Polls(stream_count_max=1).poll(
        answer("n1", stream("A", consumer(), messages=5), stream("B", consumer(), messages=9))
    )
    routes = {one.scope.route for one in told(found.batch)}
    assert "B/poster" in routes
    assert "A" not in routes
    assert "A/poster" not in routes
    assert found.left_out_count == 2


def test_accounts_are_told_apart_unless_one_is_watched() -> None:
    answers = answer("n1", stream("ORDERS"), account="APP")
    assert "APP:ORDERS" in {one.scope.route for one in told(Polls().poll(answers).batch)}
    bare = Polls().poll(replace(answers, one_account=True)).batch
    assert "ORDERS" in {one.scope.route for one in told(bare)}


def test_a_server_without_a_name_is_called_by_its_address() -> None:
    """Its name is then its id, another after each restart: a series a restart."""
    found = Polls().poll(answer("n1", server_name="NDKB5XD7", server_id="NDKB5XD7")).batch
    assert "server/n1:8222" in {one.scope.route for one in told(found)}


def test_a_server_that_restarted_says_so_by_its_start() -> None:
    polls = Polls()
    one = points(polls.poll(answer("n1", in_msgs=5000)).batch, "server/n1")[
        "server_in_messages_per_s"
    ]
    two = points(polls.poll(answer("n1", server_id="ID-new", in_msgs=7)).batch, "server/n1")[
        "server_in_messages_per_s"
    ]
    assert one.reading is Reading.RATE
    assert one.identity == two.identity
    assert one.start_ns < two.start_ns
    # Clocks that drift make no restart: the start of one server stays where it was first seen.
    later = answer("n1", server_id="ID-new", now_ns=NOW_NS + 3 * SECOND_NS)
    three = points(polls.poll(later).batch, "server/n1")["server_in_messages_per_s"]
    assert three.start_ns == two.start_ns


def test_limits_use_and_replicas_become_ratios_and_counts() -> None:
    lagging = {"name": "n2", "current": False, "lag": 40}
    away = {"name": "n3", "current": False, "offline": True}
    own = stream(
        "ORDERS",
        consumer(ack_pending=50),
        cluster=group("n1", lagging, away),
        config={"max_msgs": 400, "max_bytes": 100_000},
        num_deleted=3,
        lost={"msgs": [1, 2], "bytes": 9},
    )
    own["sources"] = [{"name": "A", "lag": 3}, {"name": "B", "lag": 9}]
    found = Polls().poll(answer("n1", own, meta={**group("n1", away), "cluster_size": 2})).batch
    orders = values(found, "ORDERS")
    assert orders["stream_limit_ratio"] == 0.25
    assert orders["stream_deleted_count"] == 3
    assert orders["stream_lost_count"] == 2
    assert orders["stream_source_lag_count"] == 9
    assert orders["stream_oldest_message_age_s"] == 60
    assert orders["stream_last_message_age_s"] == 5
    assert orders["stream_replicas_offline_count"] == 1
    assert orders["stream_replicas_behind_count"] == 2
    assert orders["stream_replica_lag_count"] == 40
    assert values(found, "ORDERS/poster")["consumer_ack_pending_ratio"] == 1.0
    assert values(found, "server/n1")["server_store_ratio"] == 0.25
    assert values(found, "cluster")["cluster_offline_count"] == 1


def test_the_age_of_the_oldest_message_is_no_series_where_all_is_kept_for_ever() -> None:
    plain = values(Polls().poll(answer("n1", stream())).batch, "ORDERS")
    assert "stream_oldest_message_age_s" not in plain
    work = stream(config={"retention": "workqueue"})
    assert "stream_oldest_message_age_s" in values(
        Polls().poll(answer("n1", work)).batch, "ORDERS"
    )


def test_a_server_that_is_not_well_says_so_in_a_line_without_secrets() -> None:
    well = answer("n1")
    ill = ServerAnswer(
        place=well.place, server=well.server, ill="token=hunter2secret is wrong", streams=()
    )
    found = Polls().poll(ill).batch
    assert total(found, "server/n1", "server_unhealthy_count") == 1
    (line,) = found.logs
    assert line.severity >= 17
    assert "hunter2secret" not in line.body


def test_jetstream_that_is_off_and_streams_that_cannot_be_read_are_said() -> None:
    one = answer("n1", jetstream={})
    off = ServerAnswer(place="n1:8222", server=one.server, streams=(), jetstream_off=True)
    assert Polls().poll(off).notes == ("JetStream is off, so there are no streams and consumers",)
    unread = ServerAnswer(place="n1:8222", server=answer("n1").server)
    assert Polls().poll(unread).notes == ("streams and consumers cannot be read at n1:8222",)


def test_every_signal_has_a_known_bad_side_or_is_named_here() -> None:
    """A signal that is added must be thought about: without a known side a backlog that was worked off stands out."""
    own = stream(
        "ORDERS",
        consumer(cluster=group("n1", {"name": "n2"})),
        cluster=group("n1", {"name": "n2"}),
        config={"retention": "workqueue", "max_msgs": 10},
    )
    own["mirror"] = {"name": "A", "lag": 1}
    changed: dict[str, Any] = dict.fromkeys(
        ("subscriptions", "routes", "leafnodes", "out_msgs", "in_bytes", "out_bytes"), 1
    )
    one = answer(
        "n1",
        own,
        meta={**group("n1", {"name": "n2"}), "cluster_size": 2},
        total_connections=1,
        stale_connections=0,
        stalled_clients=0,
        **changed,
    )
    found = Polls().poll(replace(one, ill="", gauges={"server_pending_bytes": 1.0})).batch
    signals = {each.signal for each in told(found)} | {kind.signal for kind in AdvisoryKind}
    both_ways = {
        signal
        for signal in signals
        if known_gauge(SeriesKey("nats", "queue", "x", signal)) is None
    }
    assert both_ways == {
        "cluster_server_count",
        "consumer_delivered_per_s",
        "events_changed_per_s",
        "events_created_per_s",
        "events_other_per_s",
        "events_paused_per_s",
        "server_api_requests_per_s",
        "server_connection_count",
        "server_connects_per_s",
        "server_in_bytes_per_s",
        "server_in_messages_per_s",
        "server_leafnode_count",
        "server_out_bytes_per_s",
        "server_out_messages_per_s",
        "server_route_count",
        "server_store_bytes",
        "server_subscription_count",
        "stream_bytes",
        "stream_consumer_count",
        "stream_message_count",
        "stream_removed_per_s",
        "stream_stored_per_s",
    }
    # And no known name of a queue is a name that nothing has.
    assert KNOWN_GAUGES["queue"].keys() - signals == {"server_api_inflight_count"}
