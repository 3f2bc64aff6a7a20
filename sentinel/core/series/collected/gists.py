"""Texts of log records as a collector counts them: by what they say, because only the scorer knows what varies in them."""

from __future__ import annotations

from sentinel.core.series.templates import Templates

_MARK = "\x00"
_GISTS_MAX = 4096


class Gists(Templates):
    """Gives every gist a name of its own, and no window more than a bound of them.

    Templates are made by what many lines have in common. Each of several collectors would see other lines, make other
    templates, and one kind of line would be several series.
    """

    names_series = False

    def __init__(self) -> None:
        super().__init__()
        self._met: set[tuple[str, str]] = set()

    def name_of(self, service: str, gist: str, now_ns: int) -> str:
        """The gist itself, marked; "" when there were too many different ones since `begin`."""
        del now_ns
        if (service, gist) not in self._met:
            if len(self._met) >= _GISTS_MAX:
                self.refused_count += 1
                return ""
            self._met.add((service, gist))
        return _MARK + gist

    def begin(self) -> None:
        """Have room again."""
        self._met.clear()


def gist_of(route: str) -> str | None:
    """The gist that a name stands for, None when it is an event's or nothing's."""
    return route[1:] if route.startswith(_MARK) else None
