"""A window with what followed from it in one transaction; what could not be stored waits for a later one, up to a bound."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence

from sentinel.core.model import Incident, Page, Transition, WindowBlock
from sentinel.errors import StoreError, StoreFullError
from sentinel.pipeline.deciding import StoreThread
from sentinel.pipeline.replay_notes import ReplayNotes
from sentinel.ports import Tick
from sentinel.runtime.component import Surroundings
from sentinel.runtime.flow import Flow, FlowReason, FlowStage, reason_of

_PAGES_WAITING_MAX = 1000
_INCIDENTS_WAITING_MAX = 1000


class Ticks:
    """Pages and changed incidents on their way to the store."""

    def __init__(
        self,
        store: StoreThread,
        notes: ReplayNotes,
        flow: Flow,
        surroundings: Surroundings,
        *,
        pages_unstored: Callable[[Sequence[Page]], None],
    ) -> None:
        """`notes` are stored with the next window; `pages_unstored` is given what must be sent from memory."""
        self._store = store
        self._notes = notes
        self._flow = flow
        self._surroundings = surroundings
        self._pages_unstored = pages_unstored
        self._waiting: deque[Page] = deque()
        self._changed: dict[str, Incident] = {}

    def change(self, incident: Incident) -> None:
        """Store an incident as it is now."""
        self._changed[incident.incident_id] = incident

    def add(self, transitions: Iterable[Transition], pages: Iterable[Page]) -> None:
        """Store what a window led to."""
        for transition in transitions:
            self.change(transition.incident)
        self._waiting.extend(pages)

    async def store(self, block: WindowBlock) -> Tick:
        """One transaction with the window and all that waits; gives what was stored.

        Raises:
            StoreError: nothing was; pages were handed on to be sent from memory, and the loss is counted.
        """
        tick = Tick(
            block=block,
            incidents=tuple(self._changed.values()),
            pages=tuple(self._waiting),
            notes=self._notes.waiting(),
        )
        try:
            is_kept = await self._store.run(self._store.sync.append_tick, tick)
        except StoreError as error:
            self._flow.error(FlowStage.STORE, reason_of(error))
            self._drop_window(block, error)
            self._surroundings.logger.error(  # noqa: TRY400  # the store has logged its own cause
                "A window could not be stored", extra={"pages_waiting": len(self._waiting)}
            )
            if self._waiting:
                self._pages_unstored(tuple(self._waiting))
            raise
        self._flow.sent(1, signal="windows")
        self._flow.sent(len(tick.pages), signal="pages")
        self._waiting.clear()
        for incident in tick.incidents:
            # What a person said of it while this was being stored is not.
            if self._changed.get(incident.incident_id) is incident:
                del self._changed[incident.incident_id]
        self._notes.stored()
        if is_kept:
            self._notes.kept()
        else:
            self._notes.dropped(block)
        return tick

    def _drop_window(self, block: WindowBlock, error: StoreError) -> None:
        """Count a window that was not stored; what it led to waits for the next, up to a bound."""
        metrics = self._surroundings.metrics
        self._notes.dropped(block)
        self._flow.dropped(reason_of(error), block.window_count)
        if not isinstance(error, StoreFullError):  # the store has counted what it has no room for
            metrics.count(
                "sentinel_store_dropped_windows_total", block.window_count, reason="failing"
            )
        while len(self._waiting) > _PAGES_WAITING_MAX:
            self._waiting.popleft()
            metrics.count("sentinel_store_dropped_pages_total")
            self._flow.dropped(FlowReason.LIMIT)
        while len(self._changed) > _INCIDENTS_WAITING_MAX:
            # The oldest; its pages are still sent, and it is stored when it changes again.
            self._changed.pop(next(iter(self._changed)))
