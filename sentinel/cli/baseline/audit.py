"""`sentinel baseline audit`: a second opinion by statsmodels on the series that paged most."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import textwrap
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sentinel.app.audit import TOP_MAX, TOTAL_S, Audit, Audited, Chosen, audit
from sentinel.app.audit_child import HOW_TO_INSTALL, AuditChild, statsmodels_is_installed
from sentinel.app.audit_ours import FitBasis
from sentinel.app.calendars import make_calendar
from sentinel.app.config import SentinelConfig, load_config
from sentinel.cli.wrapping import tell
from sentinel.core.baseline import Model, ModelRule
from sentinel.runtime.printable import printable
from sentinel.storage.sqlite import StoreReader

_DONE, _WRONG, _CANNOT_TELL = 0, 1, 3


def add_audit(
    actions: argparse._SubParsersAction[argparse.ArgumentParser],
) -> argparse.ArgumentParser:
    """Add the action and what is its own."""
    parser = actions.add_parser(
        "audit",
        help="where the baseline and statsmodels disagree",
        description=(
            "Takes the series that paged most apart with statsmodels (MSTL, robust regression, Ljung-Box, changes of level)"
            " and says where it and our baseline disagree, as the live fit makes it by the configuration. Reads the store beside a running sidecar and changes nothing."
            " Needs the extra `audit`. Exit codes: 0 done, 1 no series has such a name or the configuration is wrong, 2 usage, 3 the store"
            " cannot be used or statsmodels is not installed."
        ),
    )
    parser.add_argument(
        "--top",
        type=_top,
        default=10,
        metavar="N",
        help=f"how many series, at most {TOP_MAX} (default: 10)",
    )
    parser.add_argument(
        "--series",
        metavar="GLOB",
        help="series with such a name, `service stage route signal`, also those that never paged",
    )
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="audit the baseline of this configuration: its calendar and zone, its models, its store",
    )
    parser.add_argument(
        "--model",
        choices=[str(model) for model in Model],
        help="audit what this one would expect (default: each series by the model that it has)",
    )
    parser.set_defaults(run=run_audit)
    return parser


def run_audit(args: argparse.Namespace) -> int:
    """Audit and print."""
    if not statsmodels_is_installed():
        _say(f"statsmodels is not installed; {HOW_TO_INSTALL} brings it")
        return _CANNOT_TELL

    config = SentinelConfig() if args.config is None else load_config(args.config).config
    place = args.store or Path(config.store.directory)
    with StoreReader(place) as reader, AuditChild() as child:
        result = audit(
            reader,
            child.examine,
            top=args.top,
            pattern=args.series,
            basis=_basis(config, reader, model=args.model),
            foretell=child.foretell,
        )
        if reader.damaged_count:
            result.notes.append(f"{reader.damaged_count} damaged records were left out")
    if args.output == "json":
        print(json.dumps(_document(result), indent=1))
    else:
        print("\n".join(_lines(result)))
    if args.series is not None and not result.series and not result.notes:
        _say(f"no series is called {printable(args.series)}")
        return _WRONG
    return _DONE


def _basis(config: SentinelConfig, reader: StoreReader, *, model: str | None) -> FitBasis:
    """What the live fit goes by, with one model for all where that is asked for."""
    models = config.baseline.settings()
    if model is not None:
        models = replace(models, rules=(ModelRule(model=Model(model)),))
    newest_ns = max((end_ns for _, _, end_ns in reader.history_span()), default=0)
    plain = config.calendar.to_plain(config.zone)
    return FitBasis(calendar=make_calendar(plain, now_ns=newest_ns), models=models)


def _top(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= TOP_MAX):
        msg = f"must be a number between 1 and {TOP_MAX}"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def _say(sentence: str) -> None:
    tell(f"sentinel baseline audit: {sentence}", file=sys.stderr)


def _document(result: Audit) -> dict[str, Any]:
    return {
        "zone": result.zone,
        "end": _instant(result.end_ns) if result.end_ns else None,
        "time_limit_s": TOTAL_S,
        "notes": result.notes,
        "series": [
            {
                **one.chosen.row.key._asdict(),
                "paged": one.chosen.paged_count,
                "incidents": one.chosen.member_count,
                "model": str(one.model),
                "fits": one.fits,
                "fallbacks": dict(one.fallbacks),
                "days": round(one.days, 2),
                "left_out": one.left_out_count,
                "why_not": one.why_not or None,
                **(one.found or {}),
            }
            for one in result.series
        ],
    }


def _lines(result: Audit) -> list[str]:
    """The audit for people, no wider than the terminal."""
    lines = _told_of_all(result)
    for one in result.series:
        lines += ["", *_lines_of(one)]
    lines += [""] if result.notes and lines else []
    return lines + [part for note in result.notes for part in _wrapped(f"Note: {note}.")]


def _told_of_all(result: Audit) -> list[str]:
    if not result.series:
        return ["No series has paged yet; --series GLOB audits any."]
    if not result.end_ns:
        return ["No windows of five minutes are stored yet."]
    return _wrapped(
        f"Ours is fitted at each midnight from what came before; MSTL saw the whole history"
        f" to {_instant(result.end_ns)}. Times are {result.zone}."
    )


def _lines_of(one: Audited) -> list[str]:
    chosen = one.chosen
    lines = _wrapped(f"{chosen.row.key}: {_paged(chosen)}")
    found = one.found
    if found is None:
        return lines + _wrapped(f"  not examined: {one.why_not}", indent="  ")
    strength, missed = found["strength"], found["miss_ratio"]
    left_out = _left_out(one.left_out_count)
    lines += _wrapped(f"  history    {one.days:.1f} days{left_out}", indent="")
    lines += _wrapped(f"  ours       {_ours(one)}", indent="")
    lines.append(
        f"  strength   day {_number(strength['day'])}, week {_number(strength['week'])},"
        f" trend {_number(strength['trend'])} (0 none, 1 all)"
    )
    lines.append(
        f"  misses by  ours {_share(missed['ours'])}, MSTL {_share(missed['mstl'])} (median)"
    )
    if (trend := found["trend_per_week"]) is not None:
        error = 200 * trend["standard_error"]
        lines.append(
            f"  growth     {_tenths(100 * trend['share'])} % a week, ±{error:.1f} (robust)"
        )
    for name, title in (("ours", "left, ours"), ("mstl", "left, MSTL")):
        if (left := found["left_over"][name]) is not None:
            lines.append(
                f"  {title:<11}correlation {_number(left['after_an_hour'])} an hour, {_number(left['after_a_day'])} a day later;"
                f" {_noise(left['p_value'])}"
            )
    told = found["disagreements"] or ["no disagreement worth telling"]
    return lines + [part for line in told for part in _wrapped(f"- {line}", indent="  ")]


def _left_out(count: int) -> str:
    if not count:
        return ""
    return f", of which {count} window{'' if count == 1 else 's'} of incidents left out"


def _ours(one: Audited) -> str:
    if not one.fallbacks:
        return str(one.model)
    reasons = ", ".join(sorted(one.fallbacks))
    count = sum(one.fallbacks.values())
    return f"{one.model}; the profile stood in at {count} of {one.fits} midnights ({reasons})"


def _paged(chosen: Chosen) -> str:
    if not chosen.member_count:
        return "on no incident"
    count = chosen.member_count
    return f"on {count} incident{'' if count == 1 else 's'}, named first on {chosen.paged_count}"


def _noise(p_value: float) -> str:
    """What Ljung-Box says."""
    return "noise (Ljung-Box)" if p_value >= 0.01 else "not noise (Ljung-Box)"


def _number(value: float | None) -> str:
    # Without the sum a small negative number would be -0.00.
    return "-" if value is None else f"{round(value, 2) + 0.0:.2f}"


def _tenths(value: float) -> str:
    return f"{round(value, 1) + 0.0:+.1f}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value * 100:.1f} %"


def _instant(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns / 1e9, tz=UTC).isoformat(timespec="minutes")


def _wrapped(text: str, *, indent: str = "") -> list[str]:
    width = max(40, min(100, shutil.get_terminal_size().columns))
    return textwrap.wrap(
        printable(text),
        width=width,
        initial_indent=indent,
        subsequent_indent=indent + "  ",
        break_on_hyphens=False,
    )
