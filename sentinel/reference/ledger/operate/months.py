"""`sentinel-ledger history --months`: months of simulated telemetry, and what happened in them.

Streams are simulated piece by piece, side by side for a file sorted by time and one after the other
for forms that keep a series together; the values are the same. Progress goes to stderr.
"""

from __future__ import annotations

import calendar
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final, TextIO
from zoneinfo import ZoneInfo

import numpy as np
import orjson
from numpy.typing import NDArray

from sentinel.reference.ledger.domain import LedgerError, UnreadableError, UsageError
from sentinel.reference.ledger.domain.history import routes_at_rate, with_levels
from sentinel.reference.ledger.domain.simulator import (
    SIGNALS,
    Event,
    MoneyCalendar,
    Piece,
    PlanSettings,
    StreamWindows,
    World,
    fleet,
    holidays_of,
    plan_events,
    simulate_stream,
)
from sentinel.reference.ledger.operate.history import check_common, read_levels, wall_clocks
from sentinel.reference.ledger.operate.months_forms import (
    SeriesName,
    SeriesSummary,
    file_stems,
    long_csv,
    openmetrics,
    write_index,
    write_series,
)

DATASET: Final = "simulator"
_HOUR_S: Final = 3600
_MONTHS_MAX: Final = 60
_WINDOWS_COUNT_MAX: Final = 40_000_000
# Windows a piece: some megabytes for all streams together, and little overhead each.
_PIECE_COUNT: Final = 4096
_PROGRESS_EVERY_S: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MonthsConfig:
    """How many months, how fine, ending when, where, and how eventful.

    `holidays_file` has a date a line (`2026-12-31`, anything after the date is a comment): days on
    which this business rests, besides those of `country`.
    """

    end_s: float
    months: int
    step_s: int = 300
    seed: int = 1
    rate: float = 20.0
    zone: str = "UTC"
    country: str | None = None
    holidays_file: Path | None = None
    levels_file: Path | None = None
    growth_ratio: float = 0.3
    outages_a_month: float = 6.0

    def __post_init__(self) -> None:
        """Refuse what makes no history, or one that nobody could read."""
        if not 1 <= self.months <= _MONTHS_MAX:
            message = f"--months must lie between 1 and {_MONTHS_MAX}"
            raise UsageError(message)
        if not 1 <= self.step_s <= _HOUR_S or _HOUR_S % self.step_s:
            message = "with --months the window must divide the hour"
            raise UsageError(message)
        check_common(end_s=self.end_s, seed=self.seed, rate=self.rate)
        if self.windows_count > _WINDOWS_COUNT_MAX:
            message = f"months and step make more than {_WINDOWS_COUNT_MAX} windows"
            raise UsageError(message)
        if not -0.9 <= self.growth_ratio <= 10:
            message = "--growth must lie between -0.9 and 10 a year"
            raise UsageError(message)
        if not 0 <= self.outages_a_month <= 30:
            message = "--outages must lie between 0 and 30 a month"
            raise UsageError(message)

    @property
    def last_s(self) -> int:
        """End of the last window: a whole hour, which is a whole window of every width."""
        return int(self.end_s // _HOUR_S) * _HOUR_S

    @property
    def first_s(self) -> int:
        """Start of the first window: local midnight, so many calendar months earlier."""
        end = datetime.fromtimestamp(self.last_s, UTC).astimezone(ZoneInfo(self.zone))
        year, month = divmod(end.year * 12 + end.month - 1 - self.months, 12)
        day = min(end.day, calendar.monthrange(year, month + 1)[1])
        begin = datetime(year, month + 1, day, tzinfo=ZoneInfo(self.zone)).timestamp()
        return int(begin // _HOUR_S) * _HOUR_S

    @property
    def windows_count(self) -> int:
        """Number of windows."""
        return (self.last_s - self.first_s) // self.step_s


class Months:
    """The months of one configuration: the plan is made at once, windows when they are asked for.

    Raises:
        UnreadableError: a file that is named cannot be read.
        UsageError: a country that is not known.
        LedgerError: a file makes no sense.
    """

    def __init__(self, config: MonthsConfig) -> None:
        self._config = config
        hours = np.arange(config.first_s, config.last_s, _HOUR_S, dtype=np.int64)
        self._offsets_s = wall_clocks(hours, config.zone) - hours
        routes = routes_at_rate(config.rate)
        if config.levels_file is not None:
            try:
                routes = with_levels(routes, read_levels(config.levels_file))
            except ValueError as error:
                message = f"{config.levels_file}: {error}"
                raise LedgerError(message) from error
        money = MoneyCalendar(holidays=_holidays(config))
        self.streams = fleet(routes)
        self.events = plan_events(
            self.streams,
            hours_s=hours,
            hours_local_s=hours + self._offsets_s,
            calendar=money,
            seed=config.seed,
            settings=PlanSettings.of_outages(config.outages_a_month),
        )
        self._world = World(
            streams=self.streams,
            calendar=money,
            events=self.events,
            step_s=config.step_s,
            end_s=config.last_s,
            growth_ratio=config.growth_ratio,
            seed=config.seed,
        )
        self.names = [
            SeriesName(
                service=stream.service, stage=stream.stage, route=stream.route, signal=signal
            )
            for stream in self.streams
            for signal in SIGNALS
        ]
        self.stems = file_stems(self.names)

    def planned_count(self, form: str) -> int:
        """Rows of `form` if none were missing; OpenMetrics has a second for each weight."""
        rows = len(self.names) * self._config.windows_count
        return 2 * rows if form == "openmetrics" else rows

    def windows(self, stream: int) -> Iterator[StreamWindows]:
        """Give one stream's windows, piece by piece."""
        return simulate_stream(self._world, stream, self._pieces())

    def truth(self) -> Iterator[bytes]:
        """Give what happened, a JSON line each, in order of time."""
        for event in self.events:
            yield orjson.dumps(self._told(event)) + b"\n"

    def _pieces(self) -> Iterator[Piece]:
        config = self._config
        width = _PIECE_COUNT * config.step_s
        for begin in range(config.first_s, config.last_s, width):
            end = min(begin + width, config.last_s)
            starts = np.arange(begin, end, config.step_s, dtype=np.int64)
            # Offsets change on the hour, and every window lies within one.
            local_s = starts + self._offsets_s[(starts - config.first_s) // _HOUR_S]
            yield Piece(starts=starts, local_s=local_s)

    def _told(self, event: Event) -> dict[str, object]:
        moved = event.moved()
        rows = [
            {
                "series": self.stems[len(SIGNALS) * one.stream + SIGNALS.index(one.signal)],
                "service": self.streams[one.stream].service,
                "stage": self.streams[one.stream].stage,
                "route": self.streams[one.stream].route,
                "signal": one.signal,
                "direction": one.direction,
                "size": round(one.size, 4),
                "visible": one.is_visible,
            }
            for one in moved
        ]
        is_expected = [event.is_fault and one.is_visible for one in moved]
        return {
            "event": event.number,
            "kind": event.kind.value,
            "fault": event.is_fault,
            "start": event.start_s,
            "end": event.end_s,
            "ramp_s": event.ramp_s,
            "repeats": event.repeats,
            "services": sorted({self.streams[one.stream].service for one in event.effects}),
            "series": [row["series"] for row in rows if row["visible"]],
            "expected": [row for row, yes in zip(rows, is_expected, strict=True) if yes],
            "also_moved": [row for row, yes in zip(rows, is_expected, strict=True) if not yes],
        }


def write_months(
    months: Months, *, form: str, out: TextIO | None, folder: Path | None, progress: Progress
) -> None:
    """Write all windows as `form`: `csv` and `openmetrics` to `out`, `series` into `folder`.

    Raises:
        OSError: it cannot be written.
    """
    if form == "series":
        assert folder is not None
        _write_folder(months, folder, progress)
        return
    assert out is not None
    side_by_side = range(len(months.streams))
    if form == "csv":
        pieces = zip(*[months.windows(stream) for stream in side_by_side], strict=True)
        for text, rows, planned in long_csv(months.names, pieces):
            out.write(text)
            progress.add(rows, planned=planned)
        return
    for text, rows, planned in openmetrics(months.names, months.windows):
        out.write(text)
        progress.add(rows, planned=planned)


def write_truth(months: Months, path: Path) -> None:
    """Write what happened, a JSON line each.

    Raises:
        OSError: it cannot be written.
    """
    with path.open("wb") as file:
        file.writelines(months.truth())


class Progress:
    """Says on stderr how far a long writing is, every few seconds, and what it came to.

    `planned_count` is the rows if none were missing; only the end tells how many there are.
    """

    def __init__(
        self,
        planned_count: int,
        *,
        say: Callable[[str], object] | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._planned_count = planned_count
        self._planned_done = 0
        self._say = say or sys.stderr.write
        self._now = now
        self._began = self._said = now()
        self.rows_count = 0

    def add(self, rows: int, *, planned: int) -> None:
        """So many rows more are written, of so many planned."""
        self.rows_count += rows
        self._planned_done += planned
        now = self._now()
        if now - self._said < _PROGRESS_EVERY_S or not self._planned_done:
            return
        self._said = now
        share = self._planned_done / self._planned_count
        left = (now - self._began) * (1 / share - 1)
        self._say(f"history: {share:.0%}, {self.rows_count:,} rows, about {left:.0f} s to go\n")

    def end(self) -> None:
        """All is written."""
        took = self._now() - self._began
        pace = self.rows_count / max(took, 1e-9)
        self._say(f"history: {self.rows_count:,} rows in {took:.1f} s ({pace:,.0f} a second)\n")


def _write_folder(months: Months, folder: Path, progress: Progress) -> None:
    """A file a series, with labels, as folders of labelled series are laid out."""
    dataset = folder / DATASET
    dataset.mkdir(parents=True)
    summaries: list[SeriesSummary] = []
    for number, stream in enumerate(months.streams):
        pieces = list(months.windows(number))
        for at, signal in enumerate(SIGNALS):
            stem = months.stems[len(SIGNALS) * number + at]
            path = dataset / f"{stem}.csv.gz"
            summaries.append(
                write_series(path, stem=stem, signal=signal, group=stream.chain, pieces=pieces)
            )
            progress.add(summaries[-1].count, planned=sum(one.starts.size for one in pieces))
    write_index(folder / "index.csv", dataset=DATASET, summaries=summaries)
    # Scorers of such folders look here for where a set's own test part begins; ours has none.
    (folder / "kpi_test_from.json").write_text("{}\n", encoding="utf-8")


def _holidays(config: MonthsConfig) -> NDArray[np.datetime64]:
    """The country's days and those of the file, a day more than the history at both ends."""
    years = range(
        datetime.fromtimestamp(config.first_s, UTC).year - 1,
        datetime.fromtimestamp(config.last_s, UTC).year + 2,
    )
    days = np.array([], dtype="datetime64[D]")
    if config.country is not None:
        try:
            days = holidays_of(config.country.upper(), years)
        except ValueError as error:
            raise UsageError(str(error)) from error
    if config.holidays_file is None:
        return days
    path = config.holidays_file
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        message = f"cannot read {path}: {error}"
        raise UnreadableError(message) from error
    own = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            own.append(date.fromisoformat(line.split()[0]))
        except ValueError as error:
            message = f"{path}:{number}: begins with no date such as 2026-12-31"
            raise LedgerError(message) from error
    return np.concatenate([days, np.array(own, dtype="datetime64[D]")])
