"""What to send to one destination now, decided from its outbox entries alone, so that a restart decides the same.

A destination that forgets (Alertmanager) is told again and again; one that keeps (a webhook) is told once, in order.

    keeps:    pending --taken--> done             pages of an incident strictly one after another
              pending --refused--> parked --a day--> done

    forgets:  firing   pending --taken--> delivered --resend--> delivered ... --its resolved is taken--> done
              resolved pending --firing seen long enough, taken--> delivered --resend for a while--> done
              either   pending --refused--> parked --a day--> done

"Seen long enough" is the heart of it. Alertmanager waits before it notifies, and an alert that it first hears of
as resolved never pages. So the resolved page of an incident waits until its firing page was there for `settle`;
an incident that came and went while Alertmanager was down still pages, and then resolves. If it lost its memory
in that while (`briefly_seen`), it is told of the beginning again.

An outage apart, an incident is open for longer than `settle` anyway, and its resolved page goes out at once. Incidents
with the same labels are one alert to Alertmanager: `delivery_turns` says which of them is told now.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sentinel.core.model import PageStatus
from sentinel.pipeline.delivery_turns import has_settled, turn_of
from sentinel.pipeline.outbox_states import ALONG, DELIVERED, DONE, PARKED, PENDING
from sentinel.ports import OutboxEntry, SendOutcome, SendResult
from sentinel.runtime.backoff import Backoff

_SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRules:
    """How one destination is served.

    Attributes:
        forgets: whether it must be told again.
        resend_ns: how often.
        settle_ns: how long a firing page must have been there before its resolved page may follow.
        resolved_for_ns: how long a resolved page is told again.
        parked_for_ns: how long a refused page stays in sight before it is only history.
        backoff: after failed attempts.
    """

    forgets: bool
    resend_ns: int
    settle_ns: int
    resolved_for_ns: int
    parked_for_ns: int
    backoff: Backoff

    @property
    def wait_max_ns(self) -> int:
        """The longest an entry may have to wait; what is due later still was written before a clock was set back."""
        return max(self.resend_ns, round(self.backoff.limit_s * _SECOND_NS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to do now.

    Attributes:
        send: entries whose pages go out now, in order.
        changed: entries whose state changes without being sent.
        next_due_ns: when there is something to do again, or None when nothing waits.
        along: by number of an entry to send, the last entries of earlier incidents that its page tells of, too.
    """

    send: tuple[OutboxEntry, ...]
    changed: tuple[OutboxEntry, ...]
    next_due_ns: int | None
    along: Mapping[int, tuple[OutboxEntry, ...]] = field(default_factory=dict)


def plan(
    entries: Sequence[OutboxEntry], rules: DeliveryRules, *, now_ns: int, send_max: int
) -> Plan:
    """Decide for all entries of one destination that are not done, oldest first."""
    work = _Work(rules=rules, now_ns=now_ns)
    live: list[OutboxEntry] = []
    for entry in entries:
        if entry.state == PARKED:
            work.keep_parked(entry)
        else:
            live.append(entry)
    if rules.forgets:
        for alert in _grouped(live, _identity):
            _plan_alert(alert, work)
    else:
        for incident in _grouped(live, lambda entry: entry.page.incident_id):
            work.send_when_due(incident[0])
    send = sorted(work.send, key=lambda entry: entry.entry_id)
    due = now_ns if len(send) > send_max else work.next_due_ns
    return Plan(
        send=tuple(send[:send_max]),
        changed=tuple(work.changed),
        next_due_ns=due,
        along=work.along,
    )


def after_send(
    entry: OutboxEntry, outcome: SendOutcome, rules: DeliveryRules, *, now_ns: int
) -> OutboxEntry:
    """The entry after one attempt."""
    if outcome.result is SendResult.RETRY:
        attempts = entry.attempts + 1
        wait_s = rules.backoff.wait_s(attempts, retry_after_s=outcome.retry_after_s)
        return replace(entry, attempts=attempts, due_ns=now_ns + round(wait_s * _SECOND_NS))
    if outcome.result is SendResult.REFUSED:
        return replace(
            entry,
            attempts=entry.attempts + 1,
            state=PARKED,
            due_ns=now_ns + rules.parked_for_ns,
        )
    first_ns = now_ns if entry.delivered_ns is None else entry.delivered_ns
    if not rules.forgets:
        return replace(entry, state=DONE, delivered_ns=first_ns, due_ns=now_ns)
    return replace(
        entry,
        attempts=0,
        state=DELIVERED,
        delivered_ns=first_ns,
        due_ns=now_ns + rules.resend_ns,
    )


def overtaken(
    entries: Iterable[OutboxEntry],
    sent: Iterable[OutboxEntry],
    along: Mapping[int, Sequence[OutboxEntry]],
    rules: DeliveryRules,
    *,
    now_ns: int,
) -> list[OutboxEntry]:
    """What a taken page changes besides itself: older pages of the same alert are done, or were told along.

    The page itself is among them when it took the place of another firing page of its incident: the destination
    has had the alert since then.

    Args:
        entries: all of the destination, as they were before the attempt.
        sent: those that were sent, as they are after it.
        along: as the plan said.
        rules: of the destination.
        now_ns: the time.
    """
    if not rules.forgets:
        return []
    changed: list[OutboxEntry] = []
    newest = {_identity(entry): entry for entry in sent if entry.state == DELIVERED}
    for alert in _grouped(entries, _identity):
        taken = newest.get(_identity(alert[0]))
        if taken is None:
            continue
        told_along = {entry.entry_id for entry in along.get(taken.entry_id, ())}
        for entry in alert:
            if entry.entry_id >= taken.entry_id or entry.state == PARKED:
                continue
            if entry.entry_id in told_along:
                if entry.state != ALONG:
                    changed.append(replace(entry, state=ALONG, delivered_ns=now_ns))
                continue
            changed.append(replace(entry, state=DONE))
            if _is_known_firing(entry, like=taken):
                taken = replace(taken, delivered_ns=entry.delivered_ns)
                changed.append(taken)
    return changed


def brought_forward(
    entries: Iterable[OutboxEntry], sent: Iterable[OutboxEntry], *, now_ns: int
) -> list[OutboxEntry]:
    """Entries that wait after failures and need not any more, because the destination has just taken a page."""
    tried = {entry.entry_id for entry in sent}
    return [
        replace(entry, due_ns=now_ns)
        for entry in entries
        if entry.state == PENDING
        and entry.attempts > 0
        and entry.due_ns > now_ns
        and entry.entry_id not in tried
    ]


def briefly_seen(
    entries: Iterable[OutboxEntry],
    send: Iterable[OutboxEntry],
    rules: DeliveryRules,
    *,
    now_ns: int,
) -> list[tuple[OutboxEntry, OutboxEntry]]:
    """Resolved entries that are about to go out for the first time, each with a firing one seen only a little while.

    If the destination lost its memory in that while, it may not have notified anyone, and would not now.
    """
    if not rules.forgets:
        return []
    known = {
        entry.page.incident_id: entry
        for entry in entries
        if entry.page.status is PageStatus.FIRING and entry.state == DELIVERED
    }
    pairs: list[tuple[OutboxEntry, OutboxEntry]] = []
    for entry in send:
        if entry.page.status is not PageStatus.RESOLVED or entry.state != PENDING:
            continue
        firing = known.get(entry.page.incident_id)
        if firing is None or firing.delivered_ns is None:
            continue
        brief_ns = rules.settle_ns + 2 * rules.resend_ns
        if not has_settled(firing.delivered_ns, settle_ns=brief_ns, now_ns=now_ns):
            pairs.append((entry, firing))
    return pairs


class _Work:
    """What a plan collects."""

    def __init__(self, *, rules: DeliveryRules, now_ns: int) -> None:
        self.rules = rules
        self.now_ns = now_ns
        self.send: list[OutboxEntry] = []
        self.changed: list[OutboxEntry] = []
        self.next_due_ns: int | None = None
        self.along: dict[int, tuple[OutboxEntry, ...]] = {}

    def wait_until(self, at_ns: int) -> None:
        if self.next_due_ns is None or at_ns < self.next_due_ns:
            self.next_due_ns = at_ns

    def is_due(self, at_ns: int, *, wait_max_ns: int) -> bool:
        return not 0 < at_ns - self.now_ns <= wait_max_ns

    def send_when_due(self, entry: OutboxEntry) -> None:
        if self.is_due(entry.due_ns, wait_max_ns=self.rules.wait_max_ns):
            self.send.append(entry)
        else:
            self.wait_until(entry.due_ns)

    def finish(self, entry: OutboxEntry) -> None:
        self.changed.append(replace(entry, state=DONE))

    def keep_parked(self, entry: OutboxEntry) -> None:
        if self.is_due(entry.due_ns, wait_max_ns=self.rules.parked_for_ns):
            self.finish(entry)
        else:
            self.wait_until(entry.due_ns)


def _plan_alert(entries: Sequence[OutboxEntry], work: _Work) -> None:
    """All live entries with the same labels: the incident whose turn it is, and what goes along with it."""
    turn = turn_of(entries, settle_ns=work.rules.settle_ns, now_ns=work.now_ns)
    if turn.next_ns is not None and turn.next_ns > work.now_ns:
        work.wait_until(turn.next_ns)
    first = len(work.send)
    _plan_incident(turn.entries, work)
    for entry in work.send[first:]:
        work.along[entry.entry_id] = turn.along
    if not turn.entries:
        for entry in entries:  # what they went along with is over
            work.finish(entry)


def _plan_incident(entries: Sequence[OutboxEntry], work: _Work) -> None:
    firing = [entry for entry in entries if entry.page.status is PageStatus.FIRING]
    resolved = [entry for entry in entries if entry.page.status is PageStatus.RESOLVED]
    if not firing:
        for entry in resolved:
            _plan_resolved_alone(entry, work)
        return
    latest = firing[-1]
    delivered = [entry.delivered_ns for entry in firing if entry.delivered_ns is not None]
    if not resolved or not delivered:
        work.send_when_due(latest)
        return
    since_ns = min(delivered)
    if has_settled(since_ns, settle_ns=work.rules.settle_ns, now_ns=work.now_ns):
        work.send_when_due(resolved[-1])
    else:
        work.wait_until(since_ns + work.rules.settle_ns)
        work.send_when_due(latest)


def _plan_resolved_alone(entry: OutboxEntry, work: _Work) -> None:
    if entry.state == PENDING or entry.delivered_ns is None:
        # Its firing page was refused, or was stored before this destination was there: nothing to take back.
        work.finish(entry)
        return
    told_ns = work.now_ns - entry.delivered_ns
    if told_ns < 0 or told_ns >= work.rules.resolved_for_ns:
        work.finish(entry)
    else:
        work.send_when_due(entry)


def _is_known_firing(entry: OutboxEntry, *, like: OutboxEntry) -> bool:
    """Whether both are firing pages of one incident, and the destination has had this one for longer."""
    return (
        entry.page.incident_id == like.page.incident_id
        and entry.page.status is like.page.status is PageStatus.FIRING
        and entry.delivered_ns is not None
        and (like.delivered_ns is None or entry.delivered_ns < like.delivered_ns)
    )


def _identity(entry: OutboxEntry) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(entry.page.labels.items()))


def _grouped(
    entries: Iterable[OutboxEntry], key: Callable[[OutboxEntry], Hashable]
) -> list[list[OutboxEntry]]:
    groups: dict[Hashable, list[OutboxEntry]] = {}
    for entry in entries:
        groups.setdefault(key(entry), []).append(entry)
    return list(groups.values())
