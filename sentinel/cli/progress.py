"""How far something long got, on standard error: one line that changes on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
from typing import TextIO

from sentinel.cli.options import terminal_columns
from sentinel.cli.wrapping import tell
from sentinel.ports import Clock
from sentinel.runtime.printable import printable

_TERMINAL_S = 0.2
_PLAIN_S = 10.0
_CLEAR = "\r\x1b[K"
_COLUMNS_USUAL = 80


class ProgressLine:
    """Shows sentences, the last one for as long as nothing else is said."""

    def __init__(
        self, clock: Clock, *, stream: TextIO | None = None, every_s: float | None = None
    ) -> None:
        self._clock = clock
        self._stream = sys.stderr if stream is None else stream
        self._is_terminal = self._stream.isatty()
        usual_s = _TERMINAL_S if self._is_terminal else _PLAIN_S
        self._every_s = usual_s if every_s is None else every_s
        self._last_s: float | None = None
        self._is_shown = False

    def show(self, sentence: str, *, is_last: bool = False) -> None:
        """Show how far it is; not more often than people can read, but the last time always."""
        now_s = self._clock.monotonic_s()
        if not is_last and self._last_s is not None and now_s - self._last_s < self._every_s:
            return
        self._last_s = now_s
        text = printable(sentence)
        if self._is_terminal:
            # A line that fills the last column goes on in the next one, which a carriage return does not clear.
            room = (terminal_columns(self._stream) or _COLUMNS_USUAL) - 1
            self._write(f"{_CLEAR}{text[:room]}")
            self._is_shown = True
        else:
            self._write(f"{text}\n")

    def say(self, sentence: str) -> None:
        """Say something that stays."""
        self.clear()
        tell(printable(sentence), file=self._stream)
        self._stream.flush()

    def clear(self) -> None:
        """Leave the line to others."""
        if self._is_shown:
            self._write(_CLEAR)
            self._is_shown = False

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def span_told(seconds: float) -> str:
    """A length of time for people, in two units at most.

    >>> span_told(42.4), span_told(190), span_told(7300)
    ('42 s', '3 min 10 s', '2 h 1 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def count_told(count: float) -> str:
    """A number for people, with three digits.

    >>> count_told(950), count_told(81_234), count_told(2_500_000)
    ('950', '81.2 k', '2.5 M')
    """
    for limit, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if count >= limit:
            return f"{count / limit:.3g}{unit}"
    return f"{count:.0f}"
