r"""Which patterns a configuration may bring: those whose worst case is known before they run.

A pattern such as `(a+)+b` takes exponential time on a line an attacker chooses, and `\d+x` quadratic time. Rather than
guessing at time limits, the language is small: every repetition has an upper bound, nothing looks around or back, and
the number of ways in which one place of a text can be tried is counted and bounded. With a line's bound that bounds the
work on a line.

    pattern := branch ('|' branch)*        branch := (atom quantifier?)*
    atom := char | . | \escape | [set] | ( pattern ) | (?: pattern )      quantifier := ? | {n} | {n,m}
"""

from __future__ import annotations

import re

PATTERN_CHARS_MAX = 256
WAYS_MAX = 256
"""Most ways to try a pattern at one place of a text."""

LENGTH_MAX = 1024
"""Longest text that a pattern may match."""

REPEAT_MAX = 256
_DEPTH_MAX = 8
_CLASSES = frozenset("dDwWsSbB")
_QUANTIFIER = re.compile(r"\{(\d{1,4})(?:,(\d{1,4}))?\}")
_SET = re.compile(r"\[\^?(?:\\.|[^\\\]])(?:\\.|[^\\\]])*\]")


def pattern_cost(pattern: str) -> int:
    r"""How much work one place of a text can be at most: ways to try the pattern there, or characters it may take.

    Raises:
        ValueError: it is not bounded, with what is wrong and what to write instead.

    >>> pattern_cost(r"CUST-\d{6,10}")
    15
    """
    if not 0 < len(pattern) <= PATTERN_CHARS_MAX:
        msg = f"a pattern has 1 to {PATTERN_CHARS_MAX} characters"
        raise ValueError(msg)
    reader = _Reader(pattern)
    ways, shortest, longest = reader.pattern(0)
    if reader.at != len(pattern):
        msg = f"a closing bracket at {reader.at} closes nothing"
        raise ValueError(msg)
    if shortest == 0:
        msg = "a pattern must not match an empty text"
        raise ValueError(msg)
    if ways > WAYS_MAX:
        msg = (
            f"the pattern can be tried in {ways} ways at one place, {WAYS_MAX} are allowed:"
            " repeat less, or exactly, as in {8}"
        )
        raise ValueError(msg)
    if longest > LENGTH_MAX:
        msg = f"the pattern may match {longest} characters, {LENGTH_MAX} are allowed"
        raise ValueError(msg)
    try:
        re.compile(pattern, re.ASCII)
    except re.error as error:
        msg = f"not a regular expression: {error}"
        raise ValueError(msg) from None
    return max(ways, longest)


class _Reader:
    """Reads a pattern once; each part gives (ways to try it, shortest match, longest match)."""

    def __init__(self, pattern: str) -> None:
        self._text = pattern
        self.at = 0

    def pattern(self, depth: int) -> tuple[int, int, int]:
        if depth > _DEPTH_MAX:
            msg = f"brackets are nested deeper than {_DEPTH_MAX}"
            raise ValueError(msg)
        ways, shortest, longest = self._branch(depth)
        while self._peek() == "|":
            self.at += 1
            more, low, high = self._branch(depth)
            ways, shortest, longest = ways + more, min(shortest, low), max(longest, high)
        return ways, shortest, longest

    def _branch(self, depth: int) -> tuple[int, int, int]:
        ways, shortest, longest = 1, 0, 0
        while self._peek() not in ("", "|", ")"):
            more, low, high = self._repeated(self._atom(depth))
            # Kept small, so that a hostile pattern cannot make the counting itself long.
            ways = min(ways * more, 10**9)
            shortest, longest = shortest + low, longest + high
        return ways, shortest, longest

    def _repeated(self, atom: tuple[int, int, int]) -> tuple[int, int, int]:
        ways, shortest, longest = atom
        mark = self._peek()
        if mark in ("*", "+"):
            msg = f"{mark} at {self.at} has no upper bound; write {{0,40}} or {{1,40}}"
            raise ValueError(msg)
        least = most = 1
        if mark == "?":
            self.at += 1
            least = 0
        elif mark == "{":
            found = _QUANTIFIER.match(self._text, self.at)
            if found is None:
                msg = f"a brace at {self.at} must read {{n}} or {{n,m}}; escape it if it is meant as itself"
                raise ValueError(msg)
            self.at = found.end()
            least = int(found[1])
            most = least if found[2] is None else int(found[2])
            if not least <= most <= REPEAT_MAX:
                msg = f"a repetition of {least} to {most} is not between 0 and {REPEAT_MAX}"
                raise ValueError(msg)
        else:
            return atom
        if self._peek() in ("?", "*", "+", "{"):
            msg = f"a second repetition at {self.at}"
            raise ValueError(msg)
        total = sum(min(ways**count, 10**9) for count in range(least, most + 1))
        return min(total, 10**9), shortest * least, longest * most

    def _atom(self, depth: int) -> tuple[int, int, int]:
        char = self._peek()
        if char == "(":
            return self._group(depth)
        if char == "[":
            found = _SET.match(self._text, self.at)
            if found is None:
                msg = f"the set at {self.at} has no end"
                raise ValueError(msg)
            self.at = found.end()
            return 1, 1, 1
        if char == "\\":
            return self._escape()
        if char in "^$":
            self.at += 1
            return 1, 0, 0
        if char in "*+?{":
            msg = f"{char} at {self.at} repeats nothing"
            raise ValueError(msg)
        self.at += 1
        return 1, 1, 1

    def _group(self, depth: int) -> tuple[int, int, int]:
        start = self.at
        self.at += 1
        if self._peek() == "?":
            if not self._text.startswith("?:", self.at):
                msg = f"the bracket at {start} may only begin with ?: after the bracket"
                raise ValueError(msg)
            self.at += 2
        inside = self.pattern(depth + 1)
        if self._peek() != ")":
            msg = f"the bracket at {start} is not closed"
            raise ValueError(msg)
        self.at += 1
        return inside

    def _escape(self) -> tuple[int, int, int]:
        char = self._text[self.at + 1 : self.at + 2]
        if not char or (char.isalnum() and char not in _CLASSES):
            msg = f"the escape at {self.at} is not one of \\d \\D \\w \\W \\s \\S \\b \\B or of a sign"
            raise ValueError(msg)
        self.at += 2
        return (1, 0, 0) if char in "bB" else (1, 1, 1)

    def _peek(self) -> str:
        return self._text[self.at : self.at + 1]
