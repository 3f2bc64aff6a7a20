"""Goal: nothing that a user put into a statement survives in its text, whatever the text looks like.

Method: forms of literals as PostgreSQL's lexer has them, one by one; texts that end or are cut where they should not.
"""

from __future__ import annotations

import pytest

from sentinel.core.normalise.postgres import statement_of
from sentinel.core.normalise.postgres.statement_text import STATEMENT_CHARACTERS_MAX

PAN = "4111111111111111"
WIDE = PAN.translate({ord(digit): 0xFF10 + int(digit) for digit in "0123456789"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT  1", "select ?"),
        ("select a from T where b=$1 AND c = $22", "select a from t where b=? and c = ?"),
        ("select 'it''s', E'a\\'b', B'01', X'ff', N'n', U&'\\0041'", "select ?, ?, ?, ?, ?, ?"),
        ("select $$a 'b' $x$$, $x$ it's $$ $x$, 2", "select ?, ?, ?"),
        ("select 1.5e10, .5, 0x1F, 1_000, 42", "select ?, ?, ?, ?, ?"),
        ("select a1, _b2, t3.c4 from s5.t3", "select a1, _b2, t3.c4 from s5.t3"),
        ('select "Mixed Case", "a""b" from x', 'select "Mixed Case", "a""b" from x'),
        ("where id IN ($1, $2,$3)", "where id in (?)"),
        ("where id in (1)", "where id in (?)"),
        ("insert into t values (1,'a'),(2,'b') , (3,'c')", "insert into t values (?)"),
        ("select 1 -- it's jane's\n from t", "select ? from t"),
        ("select /* a /* b */ 'c' */ x", "select x"),
        ("/*traceparent='00-abc-01'*/ select 1;", "select ?"),
        ("select a::int, b [ 1 ], count( * )", "select a::int, b[?], count(*)"),
        ("COMMIT;", "commit"),
        ("where pan = $1 and password = 'x'", "where pan = ? and password = ?"),
        ("", ""),
    ],
)
def test_statements_have_one_spelling(text: str, expected: str) -> None:
    assert statement_of(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        f"alter role bob password '{PAN}",
        f"select 'a\\' or x = {PAN} or '",
        f"select 'a\\', ' {PAN} is a word now', b",
        f"select $tag$ {PAN}",
        f"select $tag$ {PAN} $other$",
        f"select e'\\' {PAN}",
        f"select /* {PAN}",
        f'select "{PAN}',
        f'select "{PAN}" from x',
        f"select a{PAN}b",
        f"select {PAN}::text",
        f"-- {PAN}",
        f"copy t from '/{PAN}'",
        f"set x.y = {PAN}; select '{PAN}'",
        f"call f('{WIDE}')",
    ],
)
def test_nothing_of_a_literal_or_a_comment_is_left(text: str) -> None:
    """Utility statements keep their literals, and any text may be cut inside one."""
    shown = statement_of(text)
    assert PAN not in shown
    assert WIDE not in shown
    assert "is a word now" not in shown


def test_the_text_is_cut_and_long_ones_are_not_read_to_the_end() -> None:
    assert len(statement_of("select " + "abc, " * 10_000)) <= STATEMENT_CHARACTERS_MAX
    assert statement_of("/*" * 100_000) == ""
    assert statement_of("'" * 100_001) == "?"
