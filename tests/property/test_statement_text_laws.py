"""Laws of a statement's text: what stands in a literal or a comment never shows, and spelling makes no difference."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sentinel.core.normalise.postgres import statement_of

MARK = "qzx"
_INSIDE = st.text("abc '\"$\\/*-\n;()?,0159é", max_size=12)


def _plain(inside: str) -> str:
    return "'" + f"{inside}{MARK}".replace("\\", "").replace("'", "''") + "'"


def _escaped(inside: str) -> str:
    return "E'" + f"{inside}{MARK}".replace("\\", "\\\\").replace("'", "\\'") + "'"


def _dollar(inside: str) -> str:
    return f"$q${inside.replace('$', '')}{MARK}$q$"


def _block(inside: str) -> str:
    return f"/*{inside.replace('/', '').replace('*', '')}{MARK}*/"


def _line(inside: str) -> str:
    clean = inside.replace("\n", "")
    return f"--{clean}{MARK}\n"


HIDDEN = st.builds(
    lambda form, inside: form(inside),
    st.sampled_from([_plain, _escaped, _dollar, _block, _line]),
    _INSIDE,
)
SHOWN = st.sampled_from([" select ", " from ", ",", "(", ")", " t.a ", " = ", ' "Q" ', " ::int "])


@given(st.lists(st.one_of(HIDDEN, SHOWN), max_size=12))
def test_what_is_hidden_never_shows(parts: list[str]) -> None:
    text = " ".join(parts)
    assert MARK not in statement_of(text)
    for cut in range(0, len(text), 7):
        assert MARK not in statement_of(text[:cut])


@given(st.text(max_size=200))
def test_any_text_becomes_one_short_line(text: str) -> None:
    shown = statement_of(text)
    assert len(shown) <= 100
    assert shown == " ".join(shown.split())


@given(st.lists(SHOWN, max_size=10), st.integers(0, 10**18), st.integers(0, 10**18))
def test_statements_that_differ_in_a_number_are_one(
    parts: list[str], one: int, other: int
) -> None:
    head = "".join(parts)
    assert statement_of(f"{head} where a = {one}") == statement_of(
        f"{head.upper() if chr(34) not in head else head}  WHERE a  =  {other}"
    )
