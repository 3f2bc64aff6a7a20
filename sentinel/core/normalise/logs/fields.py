"""What the fields of lines tell, by the names that `names` knows.

Lines of one program have the same fields, so which of them is what is found once for each set of fields. Only fields that a rule
reads are looked at. Lines are told apart by their kind: service, severity, event or gist, and place of the call. Kinds are
numbered, so that a line costs a look-up and not an object; and lines are read many at once, those of like fields together, so
that most of the work is done by loops of the interpreter's own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import repeat
from operator import itemgetter
from types import NoneType

from sentinel.core.model import LogKind
from sentinel.core.normalise.call_logs import place_of
from sentinel.core.normalise.labels import UNKNOWN_SERVICE, label_of
from sentinel.core.normalise.logs.names import Path, with_configured
from sentinel.core.normalise.logs.settings import LogKeys
from sentinel.core.normalise.logs.severity import ERROR, INFO, severity_of
from sentinel.core.normalise.logs.times import LogTimes, within_int64
from sentinel.core.normalise.logs.values import (
    UNKNOWN_DURATION,
    Fields,
    Told,
    duration_of,
    durations_of,
    first_number,
    first_of,
    text_of,
    value_at,
)
from sentinel.core.redact.varying import Gists

EVENT_ACCESS = "access"
"""Event of a line that tells of a call and has neither an event nor a message."""

_LOOSE = "event"
_FLAT_ROLES = ("time", "severity", "event", "message", "service", "method", "status", "route")
_PLANS_MAX = 1024
_KINDS_MAX = 8192
_KNOWN_MAX = 16_384
_NAME = re.compile(r"[A-Za-z][A-Za-z_]*(?:[.:/-][A-Za-z][A-Za-z0-9_]*)*[0-9]?", re.ASCII)
_NAME_CHARS_MAX = 80
_TRACE_ID = re.compile(r"[0-9a-fA-F]{32}", re.ASCII)
_SPAN_ID = re.compile(r"[0-9a-fA-F]{16}", re.ASCII)


@dataclass(slots=True)
class _Plan:
    """Which fields of one set of fields are what.

    `paths` hold all that may be it, best first. Where none of them leads into an object, the best ones are the keys
    below. `loose` is the key of what is an event's name if it looks like one, and a text otherwise. `leading` are keys of
    which a path may lead on: in the line that was met first they did not.
    """

    number: int
    paths: dict[str, tuple[Path, ...]]
    durations: tuple[tuple[Path, float], ...]
    nested: bool
    pick: Callable[[Fields], object] = dict
    leading: tuple[str, ...] = ()
    loose: str = ""
    time: str = ""
    severity: str = ""
    event: str = ""
    message: str = ""
    service: str = ""
    method: str = ""
    status: str = ""
    route: str = ""
    duration: str = ""
    scale: float = 1.0


class FieldReader:
    """Reads lines that are fields; holds bounded caches, so one is kept for the life of a source."""

    def __init__(
        self,
        keys: LogKeys | None = None,
        times: LogTimes | None = None,
        *,
        own_service: bool = False,
    ) -> None:
        """Know the common names and those of `keys`.

        Args:
            keys: names that come before the known ones.
            times: reads times.
            own_service: the service that is given with a line is certain, whatever the line says.
        """
        self.times = times or LogTimes()
        self.kinds: list[LogKind] = []
        self._numbers: dict[LogKind, int] = {}
        self._own_service = own_service
        self._paths, self._durations = with_configured(keys or LogKeys())
        self._tops = {path[0] for paths in self._paths.values() for path in paths}
        self._tops |= {path[0] for path in self._durations}
        self._plans: dict[tuple[str, ...], _Plan] = {}
        self._known: dict[tuple[object, ...], int] = {}
        self._names: dict[str, bool] = {}
        self._gists = Gists()
        self._plan_count = 0

    def make_room(self) -> None:
        """Let go of numbered kinds when there are too many; to be called where no number is held."""
        if len(self.kinds) > _KINDS_MAX:
            self.kinds = []
            self._numbers.clear()
            self._known.clear()

    def told(self, lines: Sequence[Fields], service: str) -> Told:
        """What the fields of lines tell; `service` is who wrote them as far as is known without them."""
        shapes = list(map(tuple, lines))
        if shapes and shapes.count(shapes[0]) == len(shapes):
            return self._told(lines, self._plan_of(shapes[0], lines[0]), service)
        places: dict[tuple[str, ...], list[int]] = {}
        for at, shape in enumerate(shapes):
            places.setdefault(shape, []).append(at)
        told = Told.of_nothing(len(lines))
        for shape, at_lines in places.items():
            like = [lines[at] for at in at_lines]
            told.put(at_lines, self._told(like, self._plan_of(shape, like[0]), service))
        return told

    def _told(self, lines: Sequence[Fields], plan: _Plan, service: str) -> Told:
        """What lines with the same fields tell."""
        if plan.nested:
            return self._told_with_care(lines, plan, service)
        numbers = None
        if not any(_leads_on(fields, plan) for fields in (lines if plan.leading else ())):
            numbers = self._numbers_of(lines, plan, service)
        if numbers is None:
            odd = [at for at, fields in enumerate(lines) if not _is_plain(fields, plan)]
            plain = sorted(set(range(len(lines))).difference(odd))
            told = Told.of_nothing(len(lines))
            told.put(odd, self._told_with_care([lines[at] for at in odd], plan, service))
            told.put(plain, self._told([lines[at] for at in plain], plan, service))
            return told
        told = Told.of_nothing(len(lines))
        told.number[:] = numbers
        if lines and plan.time:
            told.time_ns[:] = self.times.of_all(list(map(itemgetter(plan.time), lines)))
        if lines and plan.duration:
            values = list(map(itemgetter(plan.duration), lines))
            told.duration_s[:] = durations_of(values, plan.scale)
        return told

    def _told_with_care(self, lines: Sequence[Fields], plan: _Plan, service: str) -> Told:
        told = Told.of_nothing(len(lines))
        for at, fields in enumerate(lines):
            told.number[at], told.time_ns[at], told.duration_s[at] = self._told_slowly(
                fields, plan, service
            )
        return told

    def _numbers_of(
        self, lines: Sequence[Fields], plan: _Plan, service: str
    ) -> Sequence[int] | None:
        """The kinds of lines with the same fields; None when one of them has an object or a list where a word was expected."""
        raws = list(map(plan.pick, lines))
        if plan.message:
            texts = list(map(itemgetter(plan.message), lines))
            if not set(map(type, texts)) <= {str}:
                return None
            raws = list(zip(raws, map(self._gists.of, texts), strict=True))
        try:
            found = list(
                map(self._known.get, zip(repeat(service), repeat(plan.number), raws, strict=False))
            )
        except TypeError:
            return None
        return [
            self._known_or_learned(lines[at], plan, service, raws[at])
            if number is None
            else number
            for at, number in enumerate(found)
        ]

    def _known_or_learned(self, fields: Fields, plan: _Plan, service: str, raw: object) -> int:
        # One of the lines before may have been the first of its like.
        number = self._known.get((service, plan.number, raw))
        return self._learn(fields, plan, service, raw) if number is None else number

    def message_of(self, fields: Fields) -> str:
        """The text of a line for people: its event, its message and what it says of an error; "" when it has none."""
        plan = self._plan_of(tuple(fields), fields)
        parts: list[str] = []
        for role in ("event", "message"):
            text = first_of(fields, plan.paths[role])
            if type(text) is str and text and text not in parts:
                parts.append(text)
        for key in ("error", "err", "exception", "exc_info", "detail", "stack_trace", "stack"):
            value = fields.get(key)
            if type(value) is dict:
                value = value.get("message") or value.get("type")
            if type(value) is str and value and value not in parts:
                parts.append(value)
        return " | ".join(parts)

    def event_of(self, number: int) -> str:
        """The event of a kind by its number, "" when it has none."""
        return self.kinds[number].event

    def ids_of(self, fields: Fields) -> tuple[str, str]:
        """Trace and span id as hexadecimal digits, "" where there is none."""
        plan = self._plan_of(tuple(fields), fields)
        trace = first_of(fields, plan.paths["trace"])
        span = first_of(fields, plan.paths["span"])
        trace_id = ""
        if type(trace) is str and len(trace) <= 256:
            found = _TRACE_ID.search(trace) if len(trace) > 32 else _TRACE_ID.fullmatch(trace)
            trace_id = found.group().lower() if found and found.group().strip("0") else ""
        is_span = type(span) is str and _SPAN_ID.fullmatch(span) and span.strip("0")
        return trace_id, span.lower() if is_span else ""

    # Below: once for each set of fields or kind, and for lines that are not like most.

    def _plan_of(self, shape: tuple[str, ...], fields: Fields) -> _Plan:
        return self._plans.get(shape) or self._plan(shape, fields)

    def _plan(self, shape: tuple[str, ...], fields: Fields) -> _Plan:
        tops = self._tops.intersection(shape)
        paths = {
            role: tuple(path for path in candidates if path[0] in tops)
            for role, candidates in self._paths.items()
        }
        durations = tuple(
            (path, scale) for path, scale in self._durations.items() if path[0] in tops
        )
        every = [path for role in paths.values() for path in role] + [
            path for path, _ in durations
        ]
        plan = _Plan(
            number=self._plan_count,
            paths=paths,
            durations=durations,
            # Where a name leads into an object, or the line is a client's, it is read with care.
            nested=bool(paths["client"])
            or any(len(path) > 1 and type(fields[path[0]]) in (dict, NoneType) for path in every),
        )
        if not plan.nested:
            for role in _FLAT_ROLES:
                flat = [path[0] for path in paths[role] if len(path) == 1]
                setattr(plan, role, flat[0] if flat else "")
            plan.loose = _LOOSE if _LOOSE in tops else ""
            for path, scale in durations:
                if len(path) == 1 and plan.status:
                    plan.duration, plan.scale = path[0], scale
                    break
            if plan.event or plan.loose:
                # A line with an event is counted by it; its text says nothing more, unless the event is a sentence.
                plan.message = "" if plan.event or plan.message == plan.loose else plan.message
            picked = [
                key
                for key in (
                    plan.severity, plan.event, plan.loose, plan.method, plan.status, plan.route, plan.service,
                )
                if key
            ]  # fmt: skip
            plan.pick = _picker(picked)
            # An object among those that are picked is found as what has no hash, and one for the message by its type.
            found_otherwise = {*picked, plan.message}
            plan.leading = tuple(
                {
                    path[0]: None
                    for path in every
                    if len(path) > 1 and path[0] not in found_otherwise
                }
            )
        if len(self._plans) >= _PLANS_MAX:
            self._plans.clear()
            self._known.clear()
        # Counted on, also when plans were let go of: the kinds of one must not be taken for another's.
        self._plan_count += 1
        self._plans[shape] = plan
        return plan

    def _learn(self, fields: Fields, plan: _Plan, service: str, raw: object) -> int:
        """The kind of a line of which none of its like was met, or none lately."""
        event = text_of(fields.get(plan.event)) if plan.event else ""
        gist = ""
        if not event and plan.loose:
            loose = fields[plan.loose]
            if type(loose) is not str:
                return self._told_slowly(fields, plan, service)[0]
            if self._is_name(loose):
                event = loose
            else:
                # Sentences differ: they would fill what is remembered of names.
                gist = self._gists.of(loose)
                return self._number(fields, plan, service, event=None, gist=gist)
        if not event and plan.message:
            gist = self._gists.of(fields[plan.message])
        number = self._number(fields, plan, service, event=event or None, gist=gist)
        if len(self._known) >= _KNOWN_MAX:
            self._known.clear()
        self._known[service, plan.number, raw] = number
        return number

    def _told_slowly(self, fields: Fields, plan: _Plan, service: str) -> tuple[int, int, float]:
        """As `Told`, for one line of which any field may be anything."""
        event = text_of(first_of(fields, plan.paths["event"]))
        loose = fields.get(_LOOSE)
        if not event and type(loose) is str and self._is_name(loose):
            event = loose
        gist = ""
        if not event:
            texts = (value_at(fields, path) for path in plan.paths["message"])
            text = next((each for each in texts if type(each) is str and each), None)
            gist = "" if text is None else self._gists.of(text)
        number = self._number(fields, plan, service, event=event or None, gist=gist)
        times = (self.times.of(value_at(fields, path)) for path in plan.paths["time"])
        time_ns = within_int64(next((each for each in times if each is not None), 0))
        duration_s = UNKNOWN_DURATION
        for path, scale in plan.durations:
            value = value_at(fields, path)
            if value is not None:
                duration_s = duration_of(value, scale)
                break
        return number, time_ns, duration_s

    def _is_name(self, text: str) -> bool:
        """Whether a text is the name of an event and not a sentence."""
        known = self._names.get(text)
        if known is None:
            known = len(text) <= _NAME_CHARS_MAX and _NAME.fullmatch(text) is not None
            if len(self._names) >= _KNOWN_MAX:
                self._names.clear()
            if len(text) <= _NAME_CHARS_MAX:
                self._names[text] = known
        return known

    def _number(
        self, fields: Fields, plan: _Plan, service: str, *, event: str | None, gist: str
    ) -> int:
        if not self._own_service:
            own = text_of(first_of(fields, plan.paths["service"]))
            service = label_of(own) if own else service
        service = service or UNKNOWN_SERVICE
        place = None
        if (
            plan.paths["method"]
            and plan.paths["status"]
            and not first_of(fields, plan.paths["client"])
        ):
            place = place_of(
                service,
                method=text_of(first_of(fields, plan.paths["method"])),
                status=first_number(fields, plan.paths["status"]),
                route=text_of(first_of(fields, plan.paths["route"])),
            )
        severity = 0
        for path in plan.paths["severity"]:
            severity = severity_of(value_at(fields, path), path[-1])
            if severity:
                break
        name = label_of(str(event)) if event else ""
        if place is not None:
            if not name and not gist:
                name = EVENT_ACCESS
            if not severity:
                severity = ERROR if place[1] else INFO
        kind = LogKind(
            service=service,
            severity=severity,
            event=name,
            gist="" if name else gist,
            place=None if place is None else place[0],
            error=place is not None and place[1],
        )
        number = self._numbers.get(kind)
        if number is None:
            number = self._numbers[kind] = len(self.kinds)
            self.kinds.append(kind)
        return number


def _is_plain(fields: Fields, plan: _Plan) -> bool:
    """Whether there are words where words are expected, and not objects or lists."""
    if _leads_on(fields, plan):
        return False
    try:
        hash(plan.pick(fields))
    except TypeError:
        return False
    return not plan.message or type(fields[plan.message]) is str


def _leads_on(fields: Fields, plan: _Plan) -> bool:
    """Whether there is an object where the line that was met first had none."""
    return any(type(fields[key]) is dict for key in plan.leading)


def _picker(keys: list[str]) -> Callable[[Fields], object]:
    """What picks the values of these keys out of fields that have them."""
    return itemgetter(*keys) if keys else _nothing


def _nothing(_: Fields) -> None:
    """The values of no keys."""
