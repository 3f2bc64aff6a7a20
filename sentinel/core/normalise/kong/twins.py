"""Whether a gateway's file-log and its http-log tell of the same requests: then one of them counts, and the other is left out.

Each way has a service of its own in the configuration, and only the ids of requests show that both are one gateway. Which of
two records of a request comes first changes from one to the next, so to leave out the later one would tear both services'
traffic. A source is left out whole, or not at all:

| of the source's last requests http-log told | the source |
|---|---|
| hardly any | counts: it is another gateway |
| some | counts, and what both tell of counts twice, which is said |
| nearly all, and http-log tells of every call | is left out while http-log goes on |
| nothing for `SILENT_S`, for http-log tells of nothing at all | counts again |

Nothing is judged before `JUDGED_COUNT` requests. Old ones weigh less and less, so that a change shows within some thousand.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

_By = TypeVar("_By")

JUDGED_COUNT = 50
SILENT_S = 60.0
_SOME_RATIO = 0.1
_ALL_RATIO = 0.9
_FEWER_RATIO = 0.7
"""A source that is left out counts again below this: one that hovers about a bound must not come and go."""
_KEPT_COUNT = 2000


class Twin(StrEnum):
    """What a source of file-log is beside http-log."""

    APART = "apart"
    IN_PART = "in part"
    SAME = "same"


@dataclass(slots=True)
class _Source:
    """What a source told of, each request by a weight that is halved again and again, and how often it was so far."""

    name: str
    told: float = 0.0
    told_twice: float = 0.0
    halvings: int = 0
    twin: Twin = Twin.APART


class KongTwins:
    """Remembers the requests that were told of last, at most `count_max` of each way; nothing before a file is watched.

    >>> twins = KongTwins(count_max=1000); twins.watch()
    >>> ids = [b"%d" % number for number in range(100)]
    >>> twins.by_http(ids, now_s=0.0, every_route=True), twins.by_file("main", ids, now_s=0.1)
    (Counter(), 100)
    >>> twins.twin_of("main", now_s=0.1), twins.twin_of("main", now_s=100.0)
    (<Twin.SAME: 'same'>, <Twin.APART: 'apart'>)
    """

    def __init__(self, *, count_max: int = 65_536) -> None:
        self._count_max = count_max
        self._by_http: OrderedDict[bytes, None] = OrderedDict()
        self._by_file: OrderedDict[bytes, tuple[_Source, int]] = OrderedDict()
        self._sources: dict[str, _Source] = {}
        self._http_s = float("-inf")
        self._every_route = False
        self._is_watched = False

    def watch(self) -> None:
        """There is a file that may tell of the same; who has http-log alone remembers nothing."""
        self._is_watched = True

    def by_http(self, ids: Iterable[bytes], *, now_s: float, every_route: bool) -> Counter[str]:
        """Note requests that http-log told of for the first time; how many of them each source had told of before.

        `every_route` says whether http-log tells of every call of its gateway.
        """
        twice: Counter[str] = Counter()
        for each in ids if self._is_watched else ():
            self._http_s, self._every_route = now_s, every_route
            told = self._by_file.pop(each, None)
            if told is not None:
                # By what it weighs among all that were told of: halved as often since. A source that was forgotten is another.
                source, halvings = told
                source.told_twice += 0.5 ** (source.halvings - halvings)
                twice[source.name] += 1
            else:
                self._keep(self._by_http, each, None)
        return twice

    def by_file(self, source: str, ids: Iterable[bytes], *, now_s: float) -> int:
        """Note requests that a source told of; how many of them http-log had told of before."""
        if now_s - self._http_s > SILENT_S:
            # Who has no http-log pays nothing for this.
            return 0
        known = self._sources.setdefault(source, _Source(source))
        # One for all of them: there may be very many.
        told = (known, known.halvings)
        twice = 0
        for each in ids:
            known.told += 1
            if each in self._by_http:
                del self._by_http[each]
                known.told_twice += 1
                twice += 1
            else:
                self._keep(self._by_file, each, told)
        if known.told > _KEPT_COUNT:
            known.told, known.told_twice = known.told / 2, known.told_twice / 2
            known.halvings += 1
        return twice

    def twin_of(self, source: str, *, now_s: float) -> Twin:
        """What a source is now."""
        known = self._sources.get(source)
        if known is None or now_s - self._http_s > SILENT_S:
            self._sources.pop(source, None)
            return Twin.APART
        if known.told >= JUDGED_COUNT:
            ratio = known.told_twice / known.told
            least = _FEWER_RATIO if known.twin is Twin.SAME else _ALL_RATIO
            if ratio >= least and self._every_route:
                known.twin = Twin.SAME
            else:
                known.twin = Twin.IN_PART if ratio >= _SOME_RATIO else Twin.APART
        return known.twin

    def _keep(self, told: OrderedDict[bytes, _By], each: bytes, by: _By) -> None:
        if len(told) >= self._count_max:
            told.popitem(last=False)
        told[each] = by
