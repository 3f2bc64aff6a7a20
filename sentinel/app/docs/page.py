"""docs/page.md: the pages of a made-up incident, whole, as text and as a webhook gets them."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator

from sentinel.app.docs.sample_page import RUNBOOKS_URL, ZONE, sample_pages
from sentinel.core.model import Page
from sentinel.senders.webhook import WebhookConfig, payload_of

_WIDTH = 100
_BEFORE_UNIT = re.compile(r"(?<=\d) (?=(?:%|ms|s|min|h)(?!\w))")
_INTRO = f"""\
What arrives when a service breaks. The service and its month of history are made up; on a Tuesday afternoon another session locks its table of accounts for twelve minutes. What was decided
about it, the words and the form come from the code that runs live, which writes this document.

The configuration is the default but for two settings, by which pages also show the time on the wall and where the runbook is:

```yaml
zone: {ZONE}
incidents: {{runbooks_url: "{RUNBOOKS_URL}"}}
```
"""
_READING = """\
- The first sentence, `summary`, is what a phone shows: the service, what is wrong where, the value against what was expected at that hour with its band, since when.
- The `description` says how far that is and which ways of looking [agree](components/verdicts.md#factors); what else is strange; which stage moved first, in time and not as a cause; a trace to
  open, and a line of the service's own log with card numbers and other secrets taken out.
- `next` is what to type to see every series of the incident, also when it is over.
- While it goes on another page says "worse:" when it gets much stranger or reaches another stage, and one says "still:" after four hours, then ever more rarely. When the values are back neither is said, although the incident
  stays open until the means over minutes that held the fault, and then the hold, are over. A ticket has the same form and wakes nobody.
"""
_PAYLOAD = """\
The first page in the payload of Alertmanager's webhooks, as Sentinel's own [webhook](components/webhook.md) sends it. To [Alertmanager](components/alertmanager.md) go the same labels and annotations.
Labels are identity: the same on every page of the incident. Annotations besides `summary`, `description` and `next` are the same facts one by one, for templates.
"""


def page_lines() -> Iterator[str]:
    """docs/page.md."""
    first, last = sample_pages()[0], sample_pages()[-1]
    yield _INTRO
    yield "## As text"
    yield ""
    yield from _fenced("text", as_text(first))
    yield _READING
    yield "## When it is over"
    yield ""
    yield from _fenced("text", as_text(last))
    yield "## As a webhook gets it"
    yield ""
    yield _PAYLOAD
    config = WebhookConfig(name="chat", url="http://127.0.0.1:8080/pages")
    payload = payload_of(first, config, now_ns=first.starts_ns + 1)
    yield from _fenced("json", json.dumps(payload, indent=2, ensure_ascii=False).splitlines())


def as_text(page: Page) -> list[str]:
    """What a person reads of a page: severity, summary, description, what to type next."""
    told = page.annotations
    lines = [
        f"[{page.status.value.upper()}] {page.labels['alertname']} ({page.labels['severity']})"
    ]
    for name in ("summary", "description", "next"):
        if name in told:
            lead = "Next: " if name == "next" else ""
            lines += ["", *_wrapped(lead + told[name])]
    if "runbook_url" in told:
        lines += _wrapped(f"Runbook: {told['runbook_url']}")
    return lines


def _wrapped(text: str) -> list[str]:
    """Lines of a page within the width; a number stays with its unit."""
    text = _BEFORE_UNIT.sub("\u00a0", text)
    return [
        part.replace("\u00a0", " ")
        for line in text.splitlines()
        for part in textwrap.wrap(line, _WIDTH, subsequent_indent="  ", break_on_hyphens=False)
    ]


def _fenced(language: str, lines: list[str]) -> Iterator[str]:
    yield f"```{language}"
    yield from lines
    yield "```"
    yield ""
