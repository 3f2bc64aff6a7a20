"""Goal: a slip of YAML is named in the line where it was made, in words that say what to type, without the value.

Method: the slips people make, each as a small text; and texts cut and mangled at every place, of which none may break it.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.runtime.config.text import parse_text

SECRET = "hunter2"
RIGHT = f"""mode: shadow
store:
  directory: "{SECRET}"
  max_bytes: 3MiB
senders:
  webhooks:
    - name: chat
      url: 'http://127.0.0.1:1/{SECRET}'
web: {{listen: {{port: 9640}}, hosts: [a, b]}}
"""


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        (f"mode {SECRET}\nstore:\n  a: b\n", 1, "a colon and a space belong after 'mode'"),
        (f"mode = {SECRET}\nstore:\n  a: b\n", 1, "a colon and a space belong after 'mode'"),
        (f"mode:{SECRET}\nstore:\n  a: b\n", 1, "a space belongs after the colon of 'mode'"),
        (
            f"store:\n  max_bytes: 3\n  directory {SECRET}\n\n# more\nweb:\n  a: b\n",
            3,
            "a colon and a space belong after 'directory'",
        ),
        (
            f"senders:\n  - name {SECRET}\n    url: x\n",
            2,
            "a colon and a space belong after 'name'",
        ),
        ("mode: shadow\nstore:\n\tdirectory: x\n", 3, "a tab cannot indent, use spaces"),
        (
            f'mode: "{SECRET}\nstore:\n  directory: x\n',
            1,
            "a quote is opened here and not closed",
        ),
        (
            "mode: shadow\nweb: {port: 1\nstore:\n  a: b\n",
            2,
            "a bracket is opened here and not closed: } is missing, or a comma",
        ),
        (
            "mode: shadow\nhosts: [a, b\nstore:\n  a: b\n",
            2,
            "a bracket is opened here and not closed: ] is missing, or a comma",
        ),
        (
            "mode: shadow\n store:\n  a: b\n",
            2,
            "it is indented deeper than line 1, which has a value already: begin both in the same column",
        ),
        (
            f"store:\n  directory: {SECRET}: b\n",
            2,
            "a value with a colon and a space in it needs quotes",
        ),
        (
            "senders:\n  - name: a\n   url: b\n",
            3,
            "it is indented otherwise than the lines it belongs to, which began in line 2",
        ),
        (
            "senders:\n  - name: a\n  url: b\n",
            3,
            "a setting among the items of the list that began in line 2",
        ),
        (
            "mode: a\n- b\n",
            2,
            "an item of a list (-) among the settings that began in line 1: indent it below the key it belongs to",
        ),
        ("mode: a\n}\n", 2, "} closes a { that was not opened"),
        (f"mode: @{SECRET}\n", 1, "a value that begins with @ needs quotes"),
        (
            f'mode: "a" {SECRET}\n',
            1,
            "something follows a value that had ended: put quotes around the whole, or begin a new line",
        ),
        (
            f'mode: "C:\\{SECRET}"\n',
            1,
            "in double quotes a backslash is an escape: use single quotes",
        ),
    ],
)
def test_a_slip_is_named_where_it_was_made(text: str, line: int, told: str) -> None:
    _, (problem,) = parse_text(text.encode(), file="a.yaml")
    assert (problem.line, problem.message) == (line, f"is not valid YAML: {told}")
    assert SECRET not in str(problem)


@given(
    st.integers(0, len(RIGHT)),
    st.integers(0, 8),
    st.text(":{}[]\"'- \n\t#@&*!|>%?,\\a", max_size=4),
)
def test_no_slip_breaks_the_reader_or_shows_a_value(at: int, gone: int, put: str) -> None:
    text = RIGHT[:at] + put + RIGHT[at + gone :]
    _, problems = parse_text(text.encode(), file="a.yaml")
    for problem in problems:
        assert problem.line is not None
        assert 1 <= problem.line <= text.count("\n") + 1
        if "is not valid YAML" in problem.message:
            assert SECRET not in problem.message
