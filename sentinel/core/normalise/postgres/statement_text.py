"""The text of a statement without anything that a user put in: no literal, no comment, one spelling.

pg_stat_statements replaces constants itself, but not in utility statements (`ALTER ROLE ... PASSWORD 'x'`, seen on 15 to
18), and it keeps the first caller's comments, which may carry a trace or a name. So nothing of it is believed: each token
is read again, and what is neither a word, a quoted name nor a sign becomes `?`.

Where it is not certain that a literal has ended, all that follows is taken for part of it: whether a backslash ends a plain
literal is a setting of the session that nobody here knows, and a text may have been cut inside one.
"""

from __future__ import annotations

import re

from sentinel.core.redact import redact

TEXT_CHARACTERS_MAX = 4096
"""More than this of a text is not read; it is cut far below."""
STATEMENT_CHARACTERS_MAX = 100

_TOKEN = re.compile(
    r"""
    (?P<space>\s+)
    | (?P<line>--[^\n]*)
    | (?P<block>/\*)
    | (?P<dollar>\$(?:[^\W\d][\w]*)?\$)
    | (?P<parameter>\$\d+)
    | (?P<escaped>[eE]'(?:[^'\\]|\\.|'')*(?P<escaped_end>'?))
    | (?P<plain>(?:[bBxXnN]|[uU]&)?'(?:[^']|'')*(?P<plain_end>'?))
    | (?P<name>(?:[uU]&)?"(?:[^"]|"")*(?P<name_end>"?))
    | (?P<number>(?:\d|\.\d)(?:[eE][+-]?\d|[\w.])*)
    | (?P<word>[^\W\d][\w$]*)
    | (?P<sign>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_LIST = re.compile(r"\( ?\?(?: ?, ?\?)* ?\)")
_ROWS = re.compile(r"\(\?\)(?: ?, ?\(\?\))+")
_SPACE_BEFORE = re.compile(r" ([,;)\[\].]|::)")
_SPACE_AFTER = re.compile(r"([(\[.]|::) ")
_NO_SPACE = re.compile(r",(?=\S)")
_HIDDEN = "?"


def statement_of(text: str) -> str:
    r"""The statement in one spelling, without literals and comments, redacted and cut.

    >>> statement_of("SELECT * FROM Cards\n WHERE holder = '4111111111111111' AND id IN (1, 2, 3) -- jane")
    'select * from cards where holder = ? and id in (?)'
    >>> statement_of("ALTER ROLE bob PASSWORD 'it''s secret")
    'alter role bob password ?'
    """
    spelled = "".join(_tokens(text[:TEXT_CHARACTERS_MAX]))
    spelled = " ".join(spelled.split())
    spelled = _SPACE_AFTER.sub(r"\1", _SPACE_BEFORE.sub(r"\1", spelled))
    spelled = _NO_SPACE.sub(", ", spelled)
    spelled = _ROWS.sub("(?)", _LIST.sub("(?)", spelled))
    # A column may be called as a secret is; what it is compared with is hidden already.
    hidden = redact(spelled.rstrip("; ")).replace("[SECRET]", _HIDDEN)
    return hidden[:STATEMENT_CHARACTERS_MAX].rstrip()


def _tokens(text: str) -> list[str]:
    shown: list[str] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:  # cannot be: a sign is any character; were it so, nothing more is shown
            break
        kind = match.lastgroup
        at = match.end()
        if kind in ("space", "line"):
            shown.append(" ")
        elif kind == "block":
            at = _after_comment(text, at)
            shown.append(" ")
        elif kind == "dollar":
            shown.append(_HIDDEN)
            closing = text.find(match.group(), at)
            if closing < 0:
                break
            at = closing + len(match.group())
        elif kind == "escaped":
            shown.append(_HIDDEN)
            if not match.group("escaped_end"):
                break
        elif kind == "plain":
            shown.append(_HIDDEN)
            if not match.group("plain_end") or "\\" in match.group():
                break
        elif kind == "name":
            if not match.group("name_end"):
                break
            shown.append(match.group())
        elif kind in ("number", "parameter"):
            shown.append(_HIDDEN)
        else:
            shown.append(match.group().lower())
    return shown


def _after_comment(text: str, at: int) -> int:
    """Where a comment ends that has begun; they nest. The end of the text when it does not."""
    depth = 1
    while depth:
        opening, closing = text.find("/*", at), text.find("*/", at)
        if closing < 0:
            return len(text)
        if 0 <= opening < closing:
            depth, at = depth + 1, opening + 2
        else:
            depth, at = depth - 1, closing + 2
    return at
