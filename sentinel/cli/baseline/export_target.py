"""Where `sentinel baseline export` writes: files, a receiver of remote write, or nowhere in a dry run."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from sentinel.cli.baseline.report import instant_told
from sentinel.cli.wrapping import tell
from sentinel.core.model import SeriesKey
from sentinel.core.model.verdict_slices import VerdictSlice
from sentinel.history.writing import BLOCK_NS, OpenMetricsFiles, SampleNames, Written
from sentinel.history.writing.openmetrics import SUFFIX
from sentinel.runtime.clock import SystemClock
from sentinel.runtime.http.client import ClientConfig
from sentinel.runtime.printable import printable
from sentinel.runtime.settings import Duration, FilePath, Secret

if TYPE_CHECKING:
    from sentinel.history.writing.remote_write import RemoteWriteSink
    from sentinel.history.writing.sending import RemoteWriteEndpoint

_DAY_S = 86_400
_SECRET_BYTES_MAX = 4096
_TIMEOUT_S, _CONNECT_S = 30.0, 5.0
_GIVE_UP_AFTER_S = 300.0


class Target(Protocol):
    """Takes slices, and tells what became of them; `closing` says how it ended, and `following` what is typed next."""

    slice_ns: int
    lead_ns: int
    closing: str
    following: str

    @property
    def written(self) -> Written:
        """What was written so far."""
        ...

    @property
    def done_ns(self) -> int:
        """Every sample before this instant is with the receiver; 0 where that is no way to go on."""
        ...

    @property
    def is_refused(self) -> bool:
        """Whether samples were."""
        ...

    def write(self, part: VerdictSlice) -> None:
        """Take a part, in order of time."""
        ...

    def finish(self) -> None:
        """Write what is left."""
        ...

    def report(self) -> dict[str, Any]:
        """What was written, for people and programs."""
        ...

    def remarks(self) -> list[str]:
        """What else a person should know, a sentence each."""
        ...


@contextmanager
def target_of(
    args: argparse.Namespace, keys: Mapping[int, SeriesKey], *, from_ns: int, to_ns: int
) -> Iterator[Target]:
    """The target that the options name, for the samples of `[from_ns, to_ns)`.

    Raises:
        ValueError: credentials do not go together.
        ConfigError: a file of TLS cannot be used.
        OSError: a file of a secret cannot be read, or the folder not be made.
        ModuleNotFoundError: the extra is not installed.
    """
    names = SampleNames(keys, dict(args.label))
    if args.remote_write is not None:
        with _remote_write(args, names, from_ns=from_ns, to_ns=to_ns) as target:
            yield target
        return
    if args.dry_run:
        yield _Nowhere(slice_ns=BLOCK_NS)
        return
    args.openmetrics.mkdir(exist_ok=True)
    yield _Files(args.openmetrics, names, split_ns=(args.split or _DAY_S) * 10**9)


def _counted(written: Written) -> dict[str, Any]:
    return {
        "series": len(written.series),
        "windows": written.windows,
        "samples": written.samples,
        "start": instant_told(written.start_ns) if written.samples else None,
        "end": instant_told(written.end_ns) if written.samples else None,
    }


class _Nowhere:
    """A dry run."""

    def __init__(self, *, slice_ns: int) -> None:
        self.slice_ns = slice_ns
        self.lead_ns = 0
        self.closing = self.following = ""
        self.written = Written()
        self.done_ns = 0
        self.is_refused = False

    def write(self, part: VerdictSlice) -> None:
        self.written.note(part)

    def finish(self) -> None:
        pass

    def report(self) -> dict[str, Any]:
        return _counted(self.written)

    def remarks(self) -> list[str]:
        return []


class _Files:
    """A folder of files."""

    def __init__(self, folder: Path, names: SampleNames, *, split_ns: int) -> None:
        self.slice_ns = BLOCK_NS
        self.lead_ns = 0
        self.done_ns = 0
        self.is_refused = False
        self.closing = "Written. Make blocks of the files, and move what is in blocks/ into Prometheus' data folder."
        self.following = (
            f"for file in {shlex.quote(str(folder))}/*{SUFFIX}; do"
            ' promtool tsdb create-blocks-from openmetrics "$file" blocks; done'
        )
        self._folder = folder
        self._files = OpenMetricsFiles(folder, names, split_ns=split_ns)

    @property
    def written(self) -> Written:
        return self._files.written

    def write(self, part: VerdictSlice) -> None:
        self._files.write(part)

    def finish(self) -> None:
        self._files.finish()

    def report(self) -> dict[str, Any]:
        return {
            **_counted(self.written),
            "files": len(self._files.files),
            "bytes": self._files.size_bytes,
        }

    def remarks(self) -> list[str]:
        others = {*self._folder.glob(f"*{SUFFIX}")} - {*self._files.files}
        if not others:
            return []
        return [
            f"{len(others)} more files in {self._folder} end on {SUFFIX} and were not written now"
        ]


@contextmanager
def _remote_write(
    args: argparse.Namespace, names: SampleNames, *, from_ns: int, to_ns: int
) -> Iterator[Target]:
    # Imported here: cramjam comes with an extra.
    from sentinel.history.writing.messages import Protocol as Version
    from sentinel.history.writing.remote_write import SLICE_NS, RemoteWriteSink
    from sentinel.history.writing.runs import Runs
    from sentinel.history.writing.sending import RemoteWriteEndpoint

    endpoint = RemoteWriteEndpoint(
        args.remote_write,
        _client_config(args),
        SystemClock(),
        protocol=None if args.protocol in {None, "auto"} else Version(args.protocol),
        give_up_after_s=args.give_up_after or _GIVE_UP_AFTER_S,
        tenant=args.tenant or "",
        on_news=_say,
    )
    if args.dry_run:
        yield _Nowhere(slice_ns=SLICE_NS)
        return
    with RemoteWriteSink(endpoint, Runs(names, from_ns=from_ns, to_ns=to_ns)) as sink:
        yield _Receiver(sink, endpoint, slice_ns=SLICE_NS)


class _Receiver:
    """A receiver of remote write."""

    def __init__(
        self, sink: RemoteWriteSink, endpoint: RemoteWriteEndpoint, *, slice_ns: int
    ) -> None:
        self.slice_ns = slice_ns
        # What ends in the first slice is known by the one before it.
        self.lead_ns = slice_ns
        self.closing = (
            "Written. Boards have a band for that time; what comes now is told by the sidecar."
        )
        self.following = "sentinel check ready"
        self._sink = sink
        self._endpoint = endpoint

    @property
    def written(self) -> Written:
        return self._sink.written

    @property
    def done_ns(self) -> int:
        return self._sink.done_ns

    @property
    def is_refused(self) -> bool:
        return self._endpoint.sent.refused > 0

    def write(self, part: VerdictSlice) -> None:
        self._sink.write(part)

    def finish(self) -> None:
        self._sink.finish()

    def report(self) -> dict[str, Any]:
        sent = self._endpoint.sent
        return {
            **_counted(self.written),
            "protocol": str(self._endpoint.protocol),
            "requests": sent.requests,
            "retries": sent.retries,
            "bytes": sent.wire_bytes,
            "written": sent.written,
            "refused": sent.refused,
        }

    def remarks(self) -> list[str]:
        sent = self._endpoint.sent
        if not sent.refused:
            return []
        some = (
            ""
            if self._endpoint.protocol == "2.0"
            else ", some of which may be written all the same"
        )
        return [
            f"{sent.refused} samples were refused{some}: {sent.refused_why}",
            "a Prometheus takes the past where storage.tsdb.out_of_order_time_window reaches that far back",
        ]


def _client_config(args: argparse.Namespace) -> ClientConfig:
    timeout_s = args.timeout or _TIMEOUT_S
    return ClientConfig(
        bearer_token=_secret(args.bearer_token_file),
        basic_username=args.basic_username or "",
        basic_password=_secret(args.basic_password_file),
        ca_file=_path(args.ca_file),
        cert_file=_path(args.cert_file),
        key_file=_path(args.key_file),
        connect_timeout=Duration(min(_CONNECT_S, timeout_s)),
        timeout=Duration(timeout_s),
    )


def _secret(path: Path | None) -> Secret | None:
    if path is None:
        return None
    with path.open("rb") as file:
        data = file.read(_SECRET_BYTES_MAX + 1)
    text = data.decode("utf-8", "surrogateescape").removesuffix("\n").removesuffix("\r")
    if not text or len(data) > _SECRET_BYTES_MAX or not (text.isascii() and text.isprintable()):
        msg = f"{path} must hold one line of up to {_SECRET_BYTES_MAX} printable ASCII characters"
        raise ValueError(msg)
    return Secret(text)


def _path(path: Path | None) -> FilePath:
    return FilePath("" if path is None else str(path.absolute()))


def _say(sentence: str) -> None:
    tell(f"sentinel baseline export: {printable(sentence)}", file=sys.stderr)
