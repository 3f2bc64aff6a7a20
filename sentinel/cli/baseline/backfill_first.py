"""`sentinel baseline backfill --before-run`: a container in front of the sidecar, which must start whatever comes of the past."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING

from sentinel.cli.baseline.backfill_told import DONE, say
from sentinel.cli.baseline.report import instant_told
from sentinel.errors import ConfigError, SentinelError
from sentinel.pipeline.backfill.first_past import (
    DEATHS_MAX,
    FirstPast,
    Turn,
    first_past_of,
    turn_of,
)
from sentinel.ports import PastStore

if TYPE_CHECKING:
    from sentinel.runtime.promql.config import QueryServerConfig

_WITHOUT = "the sidecar starts with what its store has"


def run_before_start(run: Callable[[], int]) -> int:
    """Run it, and say why where it did not do all; 0 in each case, for a sidecar that does not start watches nothing.

    As the first process of a container a signal without a handler does nothing, so the pod's end would be waited for.
    """
    signal.signal(signal.SIGTERM, _as_interrupt)
    try:
        code = run()
    except ConfigError as error:
        for problem in error.problems:
            say(str(problem))
        code = -1
    except (SentinelError, OSError) as error:
        say(str(error))
        code = -1
    if code != DONE:
        say(_WITHOUT)
    return DONE


def _as_interrupt(_number: int, frame: FrameType | None) -> None:
    """Do what a Ctrl-C does, whoever hears that by now.

    The handler is called, not the signal raised: a signal that is raised within a handler interrupts no wait.
    """
    heard = signal.getsignal(signal.SIGINT)
    if not callable(heard):
        # Ctrl-C is ignored, as in what a shell runs in the background; a stop is not.
        raise KeyboardInterrupt
    heard(signal.SIGINT, frame)


class FirstOf:
    """What the store knows of one server's past; calls block."""

    def __init__(
        self, store: PastStore, server: QueryServerConfig, *, step_ns: int, now_ns: int
    ) -> None:
        from sentinel.app.backfill.promql import digest_of

        self._store = store
        self._name = server.name
        # Beside the note on how far a run got, which goes when all is read.
        self._source = f"first {digest_of(server, step_ns)}"
        self._now_ns = now_ns
        self._note: FirstPast | None = None

    @property
    def is_whole(self) -> bool:
        """Whether all is there."""
        return self._note is not None and self._note.is_whole

    def begin(self, asked: tuple[int, int]) -> tuple[int, int] | None:
        """What is to be read; None, with a sentence said, where nothing is."""
        turn, note = turn_of(first_past_of(self._store.past_progress(self._source)), asked)
        self._note = note
        if turn is Turn.THERE:
            self._note = note.ended(is_whole=True)
            say(f"{self._name}: the past until {instant_told(note.span[1])} is there already")
            return None
        self._put(note)
        if turn is Turn.GIVEN_UP:
            say(
                f"{self._name}: {DEATHS_MAX} runs were killed before they ended, so none is tried at this start; is there too little memory?"
            )
            return None
        return note.span

    def end(self, *, is_whole: bool) -> None:
        """A run that `begin` gave something to ended in words, or by hand."""
        if self._note is not None:
            self._put(self._note.ended(is_whole=is_whole))

    def _put(self, note: FirstPast) -> None:
        self._store.append_past(
            (), source=self._source, progress=note.to_bytes(), now_ns=self._now_ns
        )
