"""Goal: a configuration's own patterns work, and none can hold the process up.

Method: what is accepted hides what it should; what is refused says why; the worst that is accepted runs over a hostile line
within the test's time limit.
"""

from __future__ import annotations

import pytest

from sentinel.core.redact import LINE_CHARS_MAX, OwnPattern, Redactor, RedactPolicy
from sentinel.core.redact.own_patterns import pattern_cost


@pytest.mark.parametrize(
    ("pattern", "line", "hidden"),
    [
        (r"CUST-\d{6,10}", "for CUST-123456.", "for [X]."),
        (r"\b[A-Z]{2}\d{7}\b", "pass AB1234567 ok", "pass [X] ok"),
        (r"(?:ab|cd){1,3}x?", "zababcd", "z[X]"),
        (r"a\.b|\[c\]", "a.b axb [c]", "[X] axb [X]"),
        (r"[^\]a-c]{3}", "abcdef", "abc[X]"),
    ],
)
def test_a_pattern_hides_what_it_matches(pattern: str, line: str, hidden: str) -> None:
    policy = RedactPolicy(own=(OwnPattern(name="X", pattern=pattern),))
    assert Redactor(policy).text(line) == hidden


def test_case_may_be_ignored() -> None:
    policy = RedactPolicy(own=(OwnPattern(name="X", pattern="cust-[0-9]{3}", ignore_case=True),))
    assert Redactor(policy).text("CUST-123") == "[X]"


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        (r"(a+)+b", "no upper bound"),
        (r"a*", "no upper bound"),
        (r"\d{3,}", "brace"),
        (r"(\w{1,20}){1,20}x", "ways"),
        (r"(a|aa){1,30}", "ways"),
        (r"\w{1,40}\w{1,40}x", "ways"),
        (r"a{300}", "repetition"),
        (r"(a{256}){5}", "characters"),
        (r"(a)\1", "escape"),
        (r"(?=a)b", "bracket"),
        (r"(?P<n>a)", "bracket"),
        (r"(?i)a", "bracket"),
        (r"a?", "empty"),
        (r"|a", "empty"),
        ("", "characters"),
        ("a" * 257, "characters"),
        ("(a", "not closed"),
        ("a)", "closes nothing"),
        ("[a", "no end"),
        ("a{2}{3}", "second repetition"),
        ("*a", "repeats nothing"),
        ("a\\", "escape"),
        ("[z-a]", "not a regular expression"),
        ("(" * 10 + "a" + ")" * 10, "nested"),
    ],
)
def test_what_is_not_bounded_is_refused(pattern: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        pattern_cost(pattern)


def test_all_patterns_together_are_bounded() -> None:
    one = OwnPattern(name="X", pattern=r"[a-z]{200}")
    with pytest.raises(ValueError, match="together"):
        RedactPolicy(own=(one,) * 6)
    with pytest.raises(ValueError, match="at most 32"):
        RedactPolicy(own=(OwnPattern(name="X", pattern="ab"),) * 33)
    with pytest.raises(ValueError, match="name of a pattern"):
        OwnPattern(name="x y", pattern="a")
    with pytest.raises(ValueError, match="16 bytes"):
        RedactPolicy(mail_key=b"short")


def test_the_worst_patterns_end_on_a_hostile_line() -> None:
    """The timeout of the test is the assertion."""
    worst = OwnPattern(name="X", pattern=r"(?:\w{1,15}){1,2}!")
    policy = RedactPolicy(own=(worst,) + (OwnPattern(name="Y", pattern=r"a{0,200}!"),) * 3)
    line = "a" * LINE_CHARS_MAX
    assert Redactor(policy).text(line) == line
