"""Lines of free text to fields: access logs, PostgreSQL, nginx, klog, logfmt, and whatever begins with a time or names a severity.

| format | told by |
|---|---|
| combined | `host ident user [time] "request" status bytes "referer" "agent"`, and a last number with three decimals for `$request_time` |
| nginx | `2026/11/22 06:35:37 [error] 7#7: *1 text` |
| postgres | `time [pid] user@database ERROR:  text`; prefixes that begin with `%m [%p]` |
| klog | `E1122 06:35:37.123456 1 file.go:42] text` |
| logfmt | `level=error msg="text"`: at least two pairs, one of them a time, a severity or a message |
| plain | everything else; a time at its start and a severity in its first words are taken for what they are |

What a line gives is a set of fields under the names that `logs.fields` knows. Times are nanoseconds since 1970 already.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import StrEnum

from sentinel.core.normalise.logs.fields import EVENT_ACCESS
from sentinel.core.normalise.logs.times import LogTimes
from sentinel.core.normalise.logs.values import Fields


class TextFormat(StrEnum):
    """How lines of text are read."""

    COMBINED = "combined"
    NGINX = "nginx"
    POSTGRES = "postgres"
    KLOG = "klog"
    LOGFMT = "logfmt"
    PLAIN = "plain"


_COMBINED = re.compile(
    r"(\S{1,255}) \S{1,255} [^\[\"]{1,255}\[([^\]]{20,32})\] "
    r"\"(?:([A-Z]{2,20}) ([^\s\"]+)(?: HTTP/[0-9.]{1,5})?|[^\"]*)\" ([1-5][0-9]{2}) (?:[0-9]{1,20}|-)"
    r"(?: \"(?:[^\"\\]|\\.)*\" \"(?:[^\"\\]|\\.)*\")?(.*)",
    re.ASCII | re.DOTALL,
)
_REQUEST_TIME = re.compile(
    r"(?:(?:\brt|\brequest_time)=\"?([0-9]{1,6}\.[0-9]{1,9})|(?<=[ \"])([0-9]{1,6}\.[0-9]{3})(?=\"?$))"
)
_NGINX = re.compile(r" \[([a-z]{3,8})\] [0-9]+#[0-9]+: (?:\*[0-9]+ )?(.*)", re.DOTALL)
_POSTGRES = re.compile(
    r" ?\[[0-9]+(?:-[0-9]+)?\](?: [^:\n]{0,200}?)? ?\b(DEBUG[1-5]?|LOG|INFO|NOTICE|WARNING|ERROR|FATAL|PANIC|STATEMENT|DETAIL"
    r"|HINT|CONTEXT|QUERY|LOCATION):\s{1,4}(.*)",
    re.DOTALL,
)
_KLOG = re.compile(
    r"([IWEF])([0-9]{4} [0-9:]{8}\.[0-9]{6})\s{1,8}[0-9]+ ([^\s:\]]{1,255}:[0-9]+)\] ?(.*)",
    re.DOTALL,
)
_PAIR = re.compile(
    r"([A-Za-z_@][\w.@/-]{0,63})=(\"(?:[^\"\\]|\\.)*\"|[^\s\"]*)(?:\s+|$)", re.ASCII
)
_LOGFMT_KEYS = frozenset(
    ("level", "lvl", "severity", "msg", "message", "ts", "time", "t", "timestamp", "event")
)
_LOGFMT_PAIRS_MAX = 64
_LEVEL = re.compile(
    r"(?<![A-Za-z])(TRACE|DEBUG|INFO|NOTICE|WARN(?:ING)?|ERROR|ERR|SEVERE|CRIT(?:ICAL)?|FATAL|PANIC|EMERG|ALERT)(?![A-Za-z])"
    r"|[\[<(](trace|debug|info|notice|warn(?:ing)?|error|err|crit(?:ical)?|fatal|panic|emerg|alert)[\]>)]"
)
_LEVEL_CHARS = 120
_ESCAPE = re.compile(r"\\(.)")


class TextReader:
    """Reads lines of text; remembers which format the last line had, because the next has it too."""

    def __init__(self, times: LogTimes, only: TextFormat | None = None) -> None:
        self._times = times
        self._now_ns = 0
        self._ways: dict[TextFormat, Callable[[str], Fields | None]] = {
            TextFormat.COMBINED: self._combined,
            TextFormat.NGINX: self._nginx,
            TextFormat.POSTGRES: self._postgres,
            TextFormat.KLOG: self._klog,
            TextFormat.LOGFMT: self._logfmt,
        }
        if only is not None:
            self._ways = {each: way for each, way in self._ways.items() if each is only}
        self._last = next(iter(self._ways), TextFormat.PLAIN)

    def fields(self, line: str, *, now_ns: int) -> Fields:
        """The fields of a line; a line of no known format is its own message."""
        self._now_ns = now_ns
        first = self._ways.get(self._last)
        found = None if first is None else first(line)
        if found is None:
            for name, way in self._ways.items():
                if name is not self._last and (found := way(line)) is not None:
                    self._last = name
                    break
        return found or self._plain(line)

    def _combined(self, line: str) -> Fields | None:
        match = _COMBINED.fullmatch(line)
        if match is None:
            return None
        _, time, method, path, status, rest = match.groups()
        fields: Fields = {
            "time": self._times.of_access_log(time),
            "event.name": EVENT_ACCESS,
            "method": method,
            "status": status,
            "message": f"{method} {path} {status}"
            if method
            else f"{status} to a request that is none",
        }
        if rest and (taken := _REQUEST_TIME.search(rest)) is not None:
            fields["request_time"] = taken.group(1) or taken.group(2)
        return fields

    def _nginx(self, line: str) -> Fields | None:
        if line[4:5] != "/" or (time := self._times.at_start(line)) is None:
            return None
        match = _NGINX.fullmatch(line, time[1])
        if match is None:
            return None
        message, mark, who = match.group(2).partition(", client: ")
        return {
            "time": time[0],
            "level": match.group(1),
            "message": message,
            "detail": f"client: {who}" if mark else None,
        }

    def _postgres(self, line: str) -> Fields | None:
        if (time := self._times.at_start(line)) is None:
            return None
        match = _POSTGRES.fullmatch(line, time[1])
        if match is None:
            return None
        return {"time": time[0], "level": match.group(1), "message": match.group(2)}

    def _klog(self, line: str) -> Fields | None:
        if line[:1] not in "IWEF" or (match := _KLOG.fullmatch(line)) is None:
            return None
        return {
            "time": self._times.of_klog(match.group(2), now_ns=self._now_ns),
            "level": match.group(1),
            "message": match.group(4),
            "caller": match.group(3),
        }

    def _logfmt(self, line: str) -> Fields | None:
        fields: Fields = {}
        at = 0
        while at < len(line) and len(fields) < _LOGFMT_PAIRS_MAX:
            match = _PAIR.match(line, at)
            if match is None:
                # A word without a value, such as a flag, ends what is pairs.
                break
            key, value = match.groups()
            fields[key] = _ESCAPE.sub(r"\1", value[1:-1]) if value[:1] == '"' else value
            at = match.end()
        if len(fields) < 2 or _LOGFMT_KEYS.isdisjoint(fields):
            return None
        return fields

    def _plain(self, line: str) -> Fields:
        at = 1 if line[:1] == "[" else 0
        time = self._times.at_start(line[at:] if at else line)
        start = 0
        if time is not None:
            start = _past(line, at + time[1])
        level = _LEVEL.search(line, start, start + _LEVEL_CHARS)
        if level is not None and level.start() == start:
            start = _past(line, level.end())
        return {
            "time": None if time is None else time[0],
            "level": None if level is None else level.group(1) or level.group(2),
            "message": line[start:],
        }


def _past(line: str, at: int) -> int:
    """Where the text begins after a time or a severity and what sets it apart."""
    while at < len(line) and line[at] in " ]|,:-\t":
        at += 1
    return at
