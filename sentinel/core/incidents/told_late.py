"""The page of an incident that tells of earlier ones, too: they were over before anybody could be told of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sentinel.core.incidents.rendering import SUMMARY_CHARACTERS_MAX, bounded
from sentinel.core.incidents.text import one_line
from sentinel.core.model import Page

_TOLD_MAX = 5


def with_earlier(page: Page, earlier: Sequence[Page]) -> Page:
    """The page, with a line for each earlier incident on top of its description.

    Args:
        page: of the incident that is told now.
        earlier: the last page of each incident that was not told in time, oldest first; the newest five are
            told in their own words, the others are counted.
    """
    if not earlier:
        return page
    count = len(earlier)
    mark = f" (and {count} earlier incident{'' if count == 1 else 's'}, perhaps not told)"
    own = page.annotations.get("summary", "")
    summary = one_line(own, characters_max=SUMMARY_CHARACTERS_MAX - len(mark)) + mark
    told = [
        f"Earlier, perhaps not told: {_words_of(before)} [{before.incident_id}]"
        for before in earlier[-_TOLD_MAX:]
    ]
    if count > _TOLD_MAX:
        told.insert(0, f"{count - _TOLD_MAX} still earlier incidents were perhaps not told.")
    if page.annotations.get("description"):
        told.append(page.annotations["description"])
    # Named first, so that the bound on the whole takes other annotations before it takes these lines.
    first = {"summary": summary, "description": "\n".join(told)}
    return replace(page, annotations=bounded(first | page.annotations | first))


def _words_of(page: Page) -> str:
    return one_line(page.annotations.get("summary", ""), characters_max=SUMMARY_CHARACTERS_MAX)
