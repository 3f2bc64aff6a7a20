"""A metrics page in any of its formats to a batch; one parser is kept for each target, because it remembers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sentinel.core.model import SampleBatch
from sentinel.core.normalise.page_settings import PageFormat, PageLimits
from sentinel.core.normalise.prometheus.placing import Placing
from sentinel.core.normalise.prometheus.protobuf import ProtobufReader
from sentinel.core.normalise.prometheus.text import TextReader
from sentinel.errors import UnsupportedInputError

ACCEPT: Mapping[PageFormat, str] = {
    PageFormat.PROTOBUF: "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
    PageFormat.OPENMETRICS: "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8",
    PageFormat.TEXT: "text/plain;version=1.0.0;escaping=allow-utf-8",
}
"""How each format is asked for."""

_OLDER: Mapping[PageFormat, tuple[str, ...]] = {
    PageFormat.OPENMETRICS: (
        "application/openmetrics-text;version=1.0.0",
        "application/openmetrics-text;version=0.0.1",
    ),
    PageFormat.TEXT: ("text/plain;version=0.0.4",),
}


def accept_of(formats: tuple[PageFormat, ...]) -> str:
    """The `Accept` header that asks for formats, the first one liked best.

    >>> accept_of((PageFormat.TEXT,))
    'text/plain;version=1.0.0;escaping=allow-utf-8;q=0.9,text/plain;version=0.0.4;q=0.8,*/*;q=0.1'
    """
    asked = [name for each in formats for name in (ACCEPT[each], *_OLDER.get(each, ()))]
    liked = [f"{name};q={max(0.9 - 0.1 * at, 0.2):.1f}" for at, name in enumerate(asked)]
    return ",".join([*liked, "*/*;q=0.1"])


def format_of(content_type: str) -> PageFormat:
    """The format a content type names; none at all, or plain text of no version, is the oldest text.

    Raises:
        UnsupportedInputError: it is none of a metrics page.
    """
    media, *parameters = [part.strip().lower() for part in content_type.split(";")]
    if media in ("", "text/plain"):
        return PageFormat.TEXT
    if media == "application/openmetrics-text":
        return PageFormat.OPENMETRICS
    if media == "application/vnd.google.protobuf" and not any(
        part.startswith("encoding=") and part.partition("=")[2].strip('"') != "delimited"
        for part in parameters
    ):
        return PageFormat.PROTOBUF
    msg = f"content type {content_type[:80]!r} is no metrics page"
    raise UnsupportedInputError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsPage:
    """What a page brought.

    Attributes:
        batch: its samples.
        format: it was in.
        families: the metrics it describes, by name; of a counter in OpenMetrics without `_total`.
        faults: what made no sense and was left out, with line numbers, the first few.
    """

    batch: SampleBatch
    format: PageFormat
    families: frozenset[str] = frozenset()
    faults: tuple[str, ...] = ()


class MetricsParser:
    """Reads the pages of one target."""

    def __init__(
        self,
        target: str,
        placing: Placing,
        *,
        service: str,
        limits: PageLimits | None = None,
        strict: bool = False,
        honour_timestamps: bool = False,
    ) -> None:
        """Make it, knowing no page.

        Args:
            target: unique in the process, such as `kong/main`; counters go on where a parser of the same target left off.
            placing: says what its series are.
            service: which is heard whenever a page comes.
            limits: how much of a page is taken.
            strict: whether a page is refused whole when a line breaks a rule; else such lines are left out and counted.
            honour_timestamps: whether a sample's own time counts, else that of the page.
        """
        self._services = frozenset((service,))
        limits = limits or PageLimits()
        self._text = TextReader(
            target, placing, limits=limits, strict=strict, honour_timestamps=honour_timestamps
        )
        self._protobuf = ProtobufReader(
            target, placing, limits=limits, honour_timestamps=honour_timestamps
        )

    def parse(self, body: bytes, *, content_type: str, time_ns: int) -> MetricsPage:
        """What a page brought that was read at `time_ns`.

        Raises:
            MalformedInputError: it breaks a rule of its format that is not put up with; the message names the line.
            UnsupportedInputError: it is in no format of these.
            InputTooLargeError: it would grow far beyond its size.
        """
        page_format = format_of(content_type)
        if page_format is PageFormat.PROTOBUF:
            read = self._protobuf.read(body, time_ns=time_ns)
        else:
            read = self._text.read(
                body, openmetrics=page_format is PageFormat.OPENMETRICS, time_ns=time_ns
            )
        return MetricsPage(
            batch=SampleBatch(
                scraped=read.scraped,
                distributions=read.distributions,
                rejected=dict(read.rejected),
                services=self._services | read.services,
            ),
            format=page_format,
            families=read.families,
            faults=read.faults,
        )
