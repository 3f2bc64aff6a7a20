"""What a page says besides its incident: something about Sentinel itself that its reader must know."""

from __future__ import annotations

from dataclasses import replace

from sentinel.core.incidents.rendering import bounded
from sentinel.core.model import Page


def noted(page: Page, *, name: str, text: str) -> Page:
    """The page with a line on top of its description, which is also an annotation of its own; bounded as any page."""
    described = "\n".join(part for part in (text, page.annotations.get("description", "")) if part)
    rest = {key: value for key, value in page.annotations.items() if key != "summary"}
    return replace(
        page,
        annotations=bounded(
            {
                "summary": page.annotations.get("summary", ""),
                **rest,
                "description": described,
                name: text,
            }
        ),
    )
