"""What a user may set about limits of gauges that hold from the first minute."""

from __future__ import annotations

from dataclasses import dataclass

from sentinel.core.incidents.settings import GAUGE_GUARDS, GaugeGuard, GuardDirection
from sentinel.core.model import SeriesPattern
from sentinel.runtime.settings import setting

_CONSEQUENCE_CHARACTERS_MAX = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class GaugeGuardConfig:
    """A limit of some gauges that pages from the first minute."""

    signal: str = setting(
        "", help="Names of gauges, as a pattern: `*`, `?` and `[...]` as in a shell, or the name."
    )
    service: str = setting("*", help="Services, as a pattern.")
    stage: str = setting("*", help="Stages, as a pattern.")
    route: str = setting("*", help="Routes, as a pattern.")
    limit: float = setting(0.0, help="Pages when the value is here or beyond, ...")
    direction: GuardDirection = setting(
        GuardDirection.HIGH, help="... which is above (`high`) or below (`low`), ..."
    )
    window_count: int = setting(
        3, help="... for so many windows with a value in a row; less than five minutes apart."
    )
    consequence: str = setting("", help="What comes of it, in a few words, as the page says it.")

    def __post_init__(self) -> None:
        if not all((self.service, self.stage, self.route, self.signal)):
            msg = "a pattern must not be empty; `*` matches everything"
            raise ValueError(msg)
        if (
            len(self.consequence) > _CONSEQUENCE_CHARACTERS_MAX
            or not self.consequence.isprintable()
        ):
            msg = f"consequence has at most {_CONSEQUENCE_CHARACTERS_MAX} characters on one line"
            raise ValueError(msg)
        self.guard()

    def guard(self) -> GaugeGuard:
        """As the core takes it; ValueError when it makes no sense."""
        return GaugeGuard(
            series=SeriesPattern(
                service=self.service, stage=self.stage, route=self.route, signal=self.signal
            ),
            limit=self.limit,
            direction=self.direction,
            window_count=self.window_count,
            consequence=self.consequence,
        )


DEFAULT_GAUGE_GUARDS = tuple(
    GaugeGuardConfig(
        signal=one.series.signal,
        service=one.series.service,
        stage=one.series.stage,
        route=one.series.route,
        limit=one.limit,
        direction=one.direction,
        window_count=one.window_count,
        consequence=one.consequence,
    )
    for one in GAUGE_GUARDS
)
