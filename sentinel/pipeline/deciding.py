"""What the next window is decided by: the state, the fit in effect, the settings, the names of series.

Live evaluation and taking up after a restart both go through it, so that they cannot differ.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from typing import ParamSpec, Protocol, TypeVar

from sentinel.core.decide import (
    Decision,
    DecisionSettings,
    decide,
    new_decision_state,
)
from sentinel.core.incidents import Attach, TrackerState, published
from sentinel.core.model import Acceptance, Incident, SeriesKey, WindowBlock
from sentinel.pipeline.fit import Fit
from sentinel.ports import BaselineStore, IncidentStore, PastStore, ReplayRecord, Snapshot

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class EvaluationStore(PastStore, BaselineStore, ReplayRecord, IncidentStore, Protocol):
    """What evaluation reads and writes."""


class StoreThread(Protocol):
    """The store, and the thread its calls run in."""

    @property
    def sync(self) -> EvaluationStore:
        """The store's blocking methods."""
        ...

    def run(
        self,
        function: Callable[Arguments, Result],
        /,
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Awaitable[Result]:
        """Call one of them without blocking the event loop."""
        ...


class FitSource(Protocol):
    """Where fits come from."""

    def current(self) -> Fit | None:
        """The newest fit, which takes effect at its `at_ns`."""
        ...

    def adopted(self, fit: Fit) -> Fit:
        """Hear that a fit is in effect and what it learned is in the state; the one to keep."""
        ...

    def stored(self, snapshot: Snapshot) -> Fit | None:
        """A fit that was stored, or None when its bytes cannot be used."""
        ...

    def request(self) -> None:
        """Fit soon, without waiting for the interval."""
        ...


class LiveSeries(Protocol):
    """Where windows are closed: what it must know of the time before a restart."""

    def remember(self, keys: Iterable[SeriesKey], *, last_ns: int) -> None:
        """Take series for live that were last heard at `last_ns`."""
        ...

    def begin_after(self, end_ns: int) -> None:
        """Close no window that ends by `end_ns`; those are decided already."""
        ...


class Deciding:
    """Decides one window after the other; the state moves on with each."""

    def __init__(self, settings: DecisionSettings, fits: FitSource, *, step_ns: int) -> None:
        self.settings = settings
        self.step_ns = step_ns
        self.keys: dict[int, SeriesKey] = {}
        self.state = new_decision_state(step_ns=step_ns, settings=settings)
        self.fit: Fit | None = None
        self._fits = fits

    @property
    def next_ns(self) -> int:
        """Start of the earliest window that may come next; 0 before the first."""
        return self.state.detector.next_ns

    @property
    def fit_version(self) -> int | None:
        """The baseline in effect, or None before the first."""
        return None if self.fit is None else self.fit.version

    def decide(
        self, block: WindowBlock, *, attach: Attach, accepted: Sequence[Acceptance] = ()
    ) -> Decision:
        """Decide a window that follows the last one."""
        decision = decide(
            self.state,
            block,
            profile=None if self.fit is None else self.fit.profile,
            keys=self.keys,
            settings=self.settings,
            attach=attach,
            accepted=accepted,
        )
        self.state = decision.state
        return decision

    def take_fit(self, fit: Fit) -> None:
        """Judge by a fit from the next window on, and take what it learned about series that are not known yet."""
        self.state = fit.primed_state(self.state, settings=self.settings.scoring)
        self.keep_fit(fit)

    def keep_fit(self, fit: Fit) -> None:
        """Judge by a fit whose rows are in the state."""
        self.fit = self._fits.adopted(fit)

    def take_tracker(self, tracker: TrackerState) -> None:
        """Go on with these incidents."""
        self.state = replace(self.state, tracker=tracker)

    def set_back(self, at_ns: int) -> tuple[Incident, ...]:
        """Go on at `at_ns`, because the clock was ahead and was put back; the open incidents, as they are now.

        A fit made by that clock knows nothing of the time before it: another one is asked for.
        """
        self.state = self.state.set_back(at_ns)
        if self.fit is not None and self.fit.at_ns > at_ns:
            self._fits.request()
        return tuple(
            published(entry, members_max=self.settings.incidents.members_max)
            for entry in self.state.tracker.entries
        )
