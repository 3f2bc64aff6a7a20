"""What a fault of YAML's syntax most likely is, and in which line: the parser says where it could go on no more.

That is often a line too late: a colon that is missing is found when the next line has one, a quote that is not closed
at the end of the file. The sentences name keys and never values, which may be secrets.
"""

from __future__ import annotations

import re

import yaml

_NO_COLON = re.compile(r"(?:- +)*([A-Za-z_][\w.-]*)(?=\s+\S|=)")
_NO_SPACE = re.compile(r"(?:- +)*([A-Za-z_][\w.-]*):(?=[^\s:/\\])")
_WITH_COLON = re.compile(r""":(?:\s|$)""")
_OPENING = {"}": "{", "]": "["}
_SCALAR_TOKEN = "<scalar>"  # noqa: S105  # the parser's word for a value


def slip_of(error: yaml.MarkedYAMLError, text: str) -> tuple[int, str]:
    """The line (from 1) and what is likely wrong there, as a clause that follows the line's name."""
    lines = text.splitlines()
    mark = error.problem_mark or error.context_mark
    at = 0 if mark is None else mark.line
    began = at if error.context_mark is None else error.context_mark.line
    problem = error.problem or "cannot be read"
    where, cause = _cause(problem, error.context or "", lines, at=at, began=began, mark=mark)
    return where + 1, f"is not valid YAML: {cause}"


def colon_hint(text: str) -> str:
    """What is likely wrong with a text that stands where settings belong, as a clause; "" for no idea.

    >>> colon_hint("mode shadow")
    "a colon and a space belong after 'mode'"
    >>> colon_hint("mode:shadow")
    "a space belongs after the colon of 'mode'"
    """
    if found := _NO_SPACE.match(text):
        return f"a space belongs after the colon of '{found[1]}'"
    found = _NO_COLON.match(text)
    return f"a colon and a space belong after '{found[1]}'" if found else ""


def _cause(
    problem: str, context: str, lines: list[str], *, at: int, began: int, mark: yaml.Mark | None
) -> tuple[int, str]:
    """The line (from 0) and the clause."""
    line = lines[at] if at < len(lines) else ""
    if "'\\t'" in problem:
        return at, "a tab cannot indent, use spaces"
    if "quoted scalar" in context and "end of stream" in problem:
        return began, "a quote is opened here and not closed"
    if "double-quoted scalar" in context and "escape" in problem:
        return at, "in double quotes a backslash is an escape: use single quotes"
    if problem.startswith("mapping values are not allowed"):
        return _second_colon(lines, at, column=0 if mark is None else mark.column)
    if problem.startswith("could not find expected ':'"):
        return began, colon_hint(_stripped(lines, began)) or "a key without a colon"
    if problem.startswith("expected ',' or"):
        bracket = problem.split("'")[3]
        return began, f"a bracket is opened here and not closed: {bracket} is missing, or a comma"
    if problem.startswith("found character"):
        character = problem.split("'")[1]
        return at, f"a value that begins with {character} needs quotes"
    if problem.startswith("expected <block end>"):
        return at, _out_of_place(problem, line, _stripped(lines, began), began=began)
    return at, problem


def _second_colon(lines: list[str], at: int, *, column: int) -> tuple[int, str]:
    """Why a colon stands where no key can be: no colon or space in a line above, too deep, or a value with a colon."""
    line = lines[at] if at < len(lines) else ""
    above = at - 1
    while above >= 0 and (not lines[above].strip() or lines[above].lstrip().startswith("#")):
        above -= 1
    if _WITH_COLON.search(line[:column]):
        return at, "a value with a colon and a space in it needs quotes"
    if above < 0:
        return at, "a colon where no key can be"
    if not _WITH_COLON.search(lines[above]):
        return above, colon_hint(_stripped(lines, above)) or "a key without a colon"
    if _depth(line) > _depth(lines[above]):
        return at, (
            f"it is indented deeper than line {above + 1}, which has a value already:"
            " begin both in the same column"
        )
    return at, "a colon where no key can be"


def _out_of_place(problem: str, line: str, opening: str, *, began: int) -> str:
    found = problem.rpartition("found ")[2].strip("'")
    if found in _OPENING:
        return f"{found} closes a {_OPENING[found]} that was not opened"
    if found == _SCALAR_TOKEN:
        return "something follows a value that had ended: put quotes around the whole, or begin a new line"
    if found == "-" and not opening.startswith("-"):
        return (
            f"an item of a list (-) among the settings that began in line {began + 1}:"
            " indent it below the key it belongs to"
        )
    if found == "?" and opening.startswith("-"):
        return f"a setting among the items of the list that began in line {began + 1}"
    return (
        f"it is indented otherwise than the lines it belongs to, which began in line {began + 1}"
        if line.strip()
        else problem
    )


def _stripped(lines: list[str], at: int) -> str:
    return lines[at].strip() if at < len(lines) else ""


def _depth(line: str) -> int:
    return len(line) - len(line.lstrip(" "))
