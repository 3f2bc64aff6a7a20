"""Who collects for a scorer: whose parts of a window are waited for, who is silent, who came and who went.

| a collector | then |
|---|---|
| says hello, or its first part comes | its parts are waited for from that window on |
| has not told of a window by its deadline | the window is closed without: what its services amount to is not known |
| was silent in `PATIENCE_WINDOWS` windows in a row | it is blind: windows close without waiting for it, until it tells again |
| comes back as another process, and the one before said no goodbye | the window it comes back in is known in part as well |
| has the name of another that tells as well | windows are known in part for as long as both do: a window cannot wait for two by one name |
| says goodbye | it is waited for no longer, and nothing is unknown |
| is blind, and another that is new says hello | the new one took its place; the one that was blind longest is let go |
| is blind for `gone_after_ns` | it is let go |

A part is taken once: what is delivered again is known by its collector, incarnation and sequence.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum

from sentinel.core.series.collected.content import WindowContent
from sentinel.core.series.collected.wire import CollectedWindow, PartKind

PATIENCE_WINDOWS = 2
DOUBLED_WINDOWS = 3
"""So many windows after both of one name have told, it is still not known that only one of them does."""
_SERVICES_MAX = 1000


class Taken(StrEnum):
    """What became of a part.

    FRESH is counted. AGAIN was here already. LATE came after its window was closed. FULL means that there are too many
    collectors. AHEAD is of a time that is still far off, so that a clock is wrong.
    """

    FRESH = "fresh"
    AGAIN = "again"
    LATE = "late"
    FULL = "full"
    AHEAD = "ahead"


@dataclass(frozen=True, slots=True, kw_only=True)
class RosterSettings:
    """How long collectors are waited for.

    Attributes:
        step_ns: width of a window.
        wait_ns: how long after its end a window waits for parts that are missing.
        gone_after_ns: a collector that is blind for so long is let go.
        collectors_max: most of them.
        ahead_max_ns: a part of a window that begins further ahead than this is not taken.
        aside: a collector that is not one of the service's replicas, and is not counted: the scorer's own ways in.
    """

    step_ns: int
    wait_ns: int
    gone_after_ns: int
    collectors_max: int = 1000
    ahead_max_ns: int = 300 * 10**9
    aside: str = ""


@dataclass(slots=True, kw_only=True)
class Member:
    """What is known of one collector.

    Attributes:
        begun_ns: start of the first window it is waited for in.
        resumed_ns: start of the first window of its latest incarnation.
        told_until_ns: end of the latest window that this incarnation told of.
        incarnation: of its latest part.
        left_ns: end of its last window, once it said goodbye.
        silent_count: windows in a row that were closed without it.
        blind_since_ns: start of the first of these.
        services: those it told of.
        heard_ns: when its latest part came.
        torn: starts of windows of which another process of the same name may have known more.
        doubled_until_ns: until when another process that lives is taken to have the same name.
    """

    begun_ns: int
    resumed_ns: int
    told_until_ns: int = 0
    incarnation: int
    left_ns: int | None = None
    silent_count: int = 0
    blind_since_ns: int = 0
    services: set[str] = field(default_factory=set)
    heard_ns: int = 0
    torn: set[int] = field(default_factory=set)
    doubled_until_ns: int = 0

    @property
    def is_blind(self) -> bool:
        """Whether it was silent for longer than a part may be late."""
        return self.silent_count >= PATIENCE_WINDOWS

    def is_expected(self, start_ns: int) -> bool:
        """Whether it is to tell of the window at `start_ns`."""
        left_ns = self.left_ns
        return self.begun_ns <= start_ns and (left_ns is None or start_ns < left_ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attendance:
    """Who told of a window that is closed now.

    Attributes:
        parts: what was told.
        expected_count: collectors that were to tell of it.
        silent: those that did not, or only in part, with since when each is; not who is aside.
        partly_told: the services that these tell of, or who is aside and did not.
        let_go: collectors that are waited for no longer though they said no goodbye.
        doubled: names that two collectors have, of those that are silent.
    """

    parts: tuple[CollectedWindow, ...]
    expected_count: int
    silent: dict[str, int]
    partly_told: frozenset[str]
    let_go: tuple[str, ...]
    doubled: frozenset[str] = frozenset()


class Roster:
    """The collectors of a scorer, and the parts of windows that are not closed yet."""

    def __init__(self, settings: RosterSettings) -> None:
        self._settings = settings
        self.members: dict[str, Member] = {}
        self._waiting: dict[int, dict[str, CollectedWindow]] = {}
        self._taken: dict[int, set[str]] = {}
        self._next_ns = 0

    @property
    def waiting_count(self) -> int:
        """How many parts wait for their window to be closed."""
        return sum(len(parts) for parts in self._waiting.values())

    @property
    def first_waiting_ns(self) -> int | None:
        """Start of the first window that a part waits for."""
        return min(self._waiting, default=None)

    def begin(self, next_ns: int) -> None:
        """Windows that begin before are closed already."""
        self._next_ns = next_ns

    def judge(self, part: CollectedWindow, now_ns: int) -> Taken:
        """What would become of a part that came at `now_ns`; nothing is taken."""
        if part.start_ns > now_ns + self._settings.ahead_max_ns:
            return Taken.AHEAD
        if self.knows(part):
            return Taken.AGAIN
        is_new = part.collector not in self.members
        is_full = len(self.members) >= self._settings.collectors_max
        if is_new and is_full and (part.collector == self._settings.aside or not self._blind()):
            return Taken.FULL
        if part.kind is not PartKind.HELLO and part.start_ns < self._next_ns:
            return Taken.LATE
        return Taken.FRESH

    def take(self, part: CollectedWindow, now_ns: int, *, kept_elsewhere: bool = False) -> Taken:
        """Take a part that came at `now_ns`; one that is late still says that its collector lives.

        Of one whose content is kept elsewhere nothing but its head is kept here: what waits may be many windows.
        """
        judged = self.judge(part, now_ns)
        if judged not in (Taken.FRESH, Taken.LATE):
            return judged
        member = self.members.get(part.collector)
        if member is None:
            self._replace_one(part.collector)
            member = self.members[part.collector] = Member(
                begun_ns=part.start_ns, resumed_ns=part.start_ns, incarnation=part.incarnation
            )
        elif part.incarnation > member.incarnation:
            self._begin_anew(member, part)
        elif part.incarnation < member.incarnation:
            self._note_doubled(member, part)
        member.heard_ns = max(member.heard_ns, now_ns)
        if len(member.services) < _SERVICES_MAX:
            member.services |= part.content.services
        self._taken.setdefault(part.start_ns, set()).add(part.identity)
        if part.kind is PartKind.HELLO:
            return judged
        if part.incarnation == member.incarnation:
            member.told_until_ns = max(member.told_until_ns, part.end_ns)
        if part.kind is PartKind.LAST and part.incarnation == member.incarnation:
            member.left_ns = part.end_ns
        if judged is Taken.FRESH:
            kept = replace(part, content=WindowContent()) if kept_elsewhere else part
            self._waiting.setdefault(part.start_ns, {})[part.identity] = kept
        return judged

    def knows(self, part: CollectedWindow) -> bool:
        """Whether a part was taken already."""
        return part.identity in self._taken.get(part.start_ns, ())

    def waits_for(self, start_ns: int) -> list[str]:
        """The collectors that may still tell of the window at `start_ns`."""
        told = {
            (part.collector, part.incarnation) for part in self._waiting.get(start_ns, {}).values()
        }
        end_ns = start_ns + self._settings.step_ns
        return [
            name
            for name, member in self.members.items()
            if member.is_expected(start_ns)
            # What an incarnation before had closed is on a collector's disk; who is aside has no such queue.
            and not (name == self._settings.aside and start_ns < member.resumed_ns)
            # One that told of the window before, if late, is back.
            and not (member.is_blind and member.told_until_ns < start_ns)
            and (name, member.incarnation) not in told
            and member.told_until_ns < end_ns
        ]

    def may_close(self, start_ns: int, now_ns: int, *, not_before_ns: int = 0) -> bool:
        """Whether the window at `start_ns` waits for nobody any more; none waits beyond its deadline.

        Before `not_before_ns` no deadline counts, because what is to come may have been waiting for us.
        """
        if now_ns >= max(self.deadline_ns(start_ns), not_before_ns):
            return True
        return bool(self._waiting.get(start_ns)) and not self.waits_for(start_ns)

    def deadline_ns(self, start_ns: int) -> int:
        """When the window at `start_ns` waits no longer."""
        return start_ns + self._settings.step_ns + self._settings.wait_ns

    def close(self, start_ns: int) -> Attendance:
        """Close the window at `start_ns`; windows come in order, none is left out."""
        parts = tuple(part for _, part in sorted(self._waiting.pop(start_ns, {}).items()))
        self._next_ns = start_ns + self._settings.step_ns
        told = {part.collector for part in parts}
        silent: dict[str, int] = {}
        partly_told: set[str] = set()
        let_go: list[str] = []
        doubled: set[str] = set()
        expected_count = 0
        for name, member in list(self.members.items()):
            if not member.is_expected(start_ns):
                if member.left_ns is not None and member.left_ns <= start_ns:
                    del self.members[name]
                continue
            expected_count += name != self._settings.aside
            is_doubled = start_ns < member.doubled_until_ns
            if name in told and start_ns not in member.torn and not is_doubled:
                member.silent_count = 0
                continue
            if is_doubled:
                doubled.add(name)
            partly_told |= member.services
            if name in told:
                member.silent_count = 0
            else:
                if not member.silent_count:
                    member.blind_since_ns = start_ns
                member.silent_count += 1
            since_ns = member.blind_since_ns if member.silent_count else start_ns
            if name != self._settings.aside:
                silent[name] = since_ns
            if start_ns - since_ns >= self._settings.gone_after_ns:
                let_go.append(name)
                del self.members[name]
        for member in self.members.values():
            member.torn = {torn_ns for torn_ns in member.torn if torn_ns > start_ns}
        return Attendance(
            parts=parts,
            expected_count=expected_count,
            silent=silent,
            partly_told=frozenset(partly_told),
            let_go=tuple(let_go),
            doubled=frozenset(doubled),
        )

    def forget_before(self, start_ns: int) -> None:
        """Forget which parts of windows before were taken: one that comes again then is late."""
        for known_ns in [known_ns for known_ns in self._taken if known_ns < start_ns]:
            del self._taken[known_ns]

    def told_services(self, names: Iterable[str]) -> frozenset[str]:
        """What these collectors told of."""
        return frozenset(
            service
            for name in names
            if (member := self.members.get(name)) is not None
            for service in member.services
        )

    def _begin_anew(self, member: Member, part: CollectedWindow) -> None:
        if member.left_ns is None:
            # What it had in memory is lost: of the windows since then, and of the one it came back in.
            member.torn.add(part.start_ns)
        elif member.left_ns < part.start_ns:
            member.begun_ns = part.start_ns
        member.left_ns = None
        member.told_until_ns = 0
        member.resumed_ns = part.start_ns
        member.incarnation = part.incarnation

    def _note_doubled(self, member: Member, part: CollectedWindow) -> None:
        """Note that a process which is not the latest tells of a window that the latest one tells of as well.

        What one that ended had left to send is of windows before the latest began.
        """
        is_of_both = member.resumed_ns < part.start_ns <= member.told_until_ns
        if part.kind is not PartKind.HELLO and is_of_both:
            until_ns = part.start_ns + DOUBLED_WINDOWS * self._settings.step_ns
            member.doubled_until_ns = max(member.doubled_until_ns, until_ns)

    def _replace_one(self, name: str) -> None:
        blind = self._blind()
        if blind and name != self._settings.aside:
            del self.members[min(blind)[1]]

    def _blind(self) -> list[tuple[int, str]]:
        """Who is blind, with since when; another that is new takes the place of one."""
        return [
            (member.blind_since_ns, name)
            for name, member in self.members.items()
            if member.is_blind and name != self._settings.aside
        ]
