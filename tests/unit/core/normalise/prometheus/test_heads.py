"""Goal: beginnings that differ in any place are seen, and ends are given out as they are.

Method: pages of lines of every length, each with one of their bytes changed, and ends of every kind.
"""

from __future__ import annotations

import numpy as np
import pytest

from sentinel.core.normalise.prometheus.heads import Ends, Heads, text_of

NAMES = [b"abcdefghijklmnopqrstuvwxyz_0123456789"[:size] + b" " for size in range(1, 36)]


def page_of(ends: list[bytes]) -> tuple[Heads, bytes]:
    """Samples with names of 1 to 35 bytes, a comment before them and one among them."""
    heads = [b"# TYPE x counter", *NAMES[:20], b"# ", *NAMES[20:], b""]
    samples = [at for at, head in enumerate(heads) if head and not head.startswith(b"#")]
    lines = list(heads)
    for at, end in zip(samples, ends, strict=True):
        lines[at] += end
    return Heads(heads, samples), b"\n".join(lines)


def cut(body: bytes, ends: Ends) -> list[bytes]:
    return [
        body[at : at + size]
        for at, size in zip(ends.at.tolist(), ends.length.tolist(), strict=True)
    ]


def test_ends_are_what_follows_the_beginnings_whatever_their_length() -> None:
    given = [b"1" * (at % 30) for at in range(len(NAMES))]
    heads, body = page_of(given)
    ends = heads.ends(body)
    assert ends is not None
    assert cut(body, ends) == given


def test_a_change_of_any_byte_in_front_of_a_value_is_seen() -> None:
    heads, body = page_of([b"12"] * len(NAMES))
    ends = heads.ends(body)
    assert ends is not None
    values = {at + each for at in ends.at.tolist() for each in range(2)}
    for at in range(len(body)):
        for byte in (b"~", b"\n", b"7"):
            changed = body[:at] + byte + body[at + 1 :]
            if changed == body:
                continue
            if at in values and byte != b"\n":
                assert heads.ends(changed) is not None, at
            else:
                assert heads.ends(changed) is None, (at, byte)


@pytest.mark.parametrize("changed", [b"", b"\n", b"# EOF\n"])
def test_a_line_more_or_less_is_seen(changed: bytes) -> None:
    heads, body = page_of([b"12"] * len(NAMES))
    assert heads.ends(body + changed if changed else body[:-1]) is None


def test_ends_become_one_text_without_what_no_value_has() -> None:
    heads, body = page_of([b"%d.5" % 10**at for at in range(len(NAMES))][::-1])
    ends = heads.ends(body)
    assert ends is not None
    assert text_of(body, ends, without_exemplars=False) is None, (
        "36 digits are no float of anybody"
    )
    few = Ends(ends.at[10:], ends.length[10:])
    text = text_of(body, few, without_exemplars=False)
    assert text is not None
    numbers = [float(each) for each in text.replace(b"\n", b"").split(b",")]
    assert numbers == [float(b"%d.5" % 10**at) for at in range(25)][::-1]


@pytest.mark.parametrize(
    ("end", "left"),
    [
        (b'8 # {a="b"} 1', b"8"),
        (b'8 # {trace_id="5b8efff798038103d269b633813fc60c"} 0.067 1520879607.789', b"8"),
        (b"8.25 1520879607.789", b"8.25 1520879607.789"),
        (b"8#1 # {} 1", b"8#1"),
    ],
)
def test_exemplars_are_left_out_and_nothing_else(end: bytes, left: bytes) -> None:
    body = b"a " + end + b"\n# # #\nb 7\n"
    heads = Heads([b"a ", b"# # #", b"b ", b""], [0, 2])
    ends = heads.ends(body)
    assert ends is not None
    text = text_of(body, ends, without_exemplars=True)
    assert text is not None
    assert text.replace(b"\n", b"") == left + b",7"


@pytest.mark.parametrize("ends", [[b"", b"1"], [b"#", b"1"], [b"", b""]])
def test_ends_of_a_byte_or_none_have_no_exemplars(ends: list[bytes]) -> None:
    """A value that was left out, in front of a comment, broke the poll: in so narrow a table there was nowhere to look."""
    body = b"a " + ends[0] + b"\n# x\nb " + ends[1] + b"\n"
    heads = Heads([b"a ", b"# x", b"b ", b""], [0, 2])
    found = heads.ends(body)
    assert found is not None
    text = text_of(body, found, without_exemplars=True)
    assert text is not None
    assert text.replace(b"\n", b"") == b",".join(ends)


def test_a_page_that_ends_with_its_last_value() -> None:
    heads = Heads([b"a ", b"b "], [0, 1])
    ends = heads.ends(b"a 1234567\nb 1")
    assert ends is not None
    assert np.array_equal(ends.length, [7, 1])
    text = text_of(b"a 1234567\nb 1", ends, without_exemplars=False)
    assert text == b"1234567,1\n\n\n\n\n\n\n"
