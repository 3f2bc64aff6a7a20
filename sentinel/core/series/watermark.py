"""Up to when time has passed, judged from two clocks of which neither is quite trusted.

The watermark is max(newest event, receive clock) - lateness. The receive clock lets silence close windows; event time
lets a sender that is a little ahead close its own. An event counts at most `AHEAD_MAX_NS` beyond the receive clock, so
one wrong stamp closes nothing.

The receive clock itself may be wrong: an NTP server gone mad, a virtual machine resumed.

- After a step forward of more than `STEP_MAX_NS` it is distrusted until a source's event agrees with it, or until it has
  stayed for `CONFIRM_NS`. A step forth and back within that time therefore leaves no trace; without the rule it would
  close every window of the skipped time as silence, and everything after the step back would be late.
- A wrong clock that was believed, and is put right later, leaves the watermark in the future. So the watermark moves back
  too, when the clock was more than `STEP_MAX_NS` behind it for `BACK_CONFIRM_NS` without another step. No event can
  confirm that sooner, because what is late looks the same; and it takes longer than a step forward, because windows
  of the same time may then be decided a second time. A smaller lead is waited out: it is over in a minute as well.
"""

from __future__ import annotations

AHEAD_MAX_NS = 5 * 10**9
STEP_MAX_NS = 60 * 10**9
CONFIRM_NS = 30 * 10**9
BACK_CONFIRM_NS = 60 * 10**9


class Watermark:
    """The instant before which nothing is waited for any more."""

    __slots__ = (
        "_behind_since_ns",
        "_distrusted_until_ns",
        "_event_ns",
        "_lateness_ns",
        "_receive_ns",
        "value_ns",
    )

    def __init__(self, *, lateness_ns: int, value_ns: int = 0) -> None:
        """Begin at `value_ns`, up to where windows were closed before."""
        self._lateness_ns = lateness_ns
        self._event_ns = 0
        self._receive_ns: int | None = None
        self._distrusted_until_ns: int | None = None
        self._behind_since_ns: int | None = None
        self.value_ns = value_ns

    @property
    def clock_distrusted(self) -> bool:
        """Whether the receive clock has just stepped forward and nothing has confirmed it yet."""
        return self._distrusted_until_ns is not None

    def advance(self, now_ns: int, *, event_ns: int = 0) -> int:
        """The watermark after the receive clock showed `now_ns`, and an event of `event_ns` came with it."""
        stepped_ns = 0 if self._receive_ns is None else now_ns - self._receive_ns
        self._receive_ns = now_ns
        self._judge_step_forward(now_ns, event_ns, stepped_ns)
        if self._is_put_back(now_ns, stepped_ns):
            self._event_ns = 0
            self.value_ns = 0
        self._event_ns = max(self._event_ns, min(event_ns, now_ns + AHEAD_MAX_NS))
        clock_ns = 0 if self.clock_distrusted else now_ns
        self.value_ns = max(self.value_ns, max(self._event_ns, clock_ns) - self._lateness_ns)
        return self.value_ns

    def _judge_step_forward(self, now_ns: int, event_ns: int, stepped_ns: int) -> None:
        if stepped_ns > STEP_MAX_NS:
            self._distrusted_until_ns = now_ns + CONFIRM_NS
        elif stepped_ns < -STEP_MAX_NS:
            self._distrusted_until_ns = None
        until_ns = self._distrusted_until_ns
        confirmed = event_ns and abs(event_ns - now_ns) <= STEP_MAX_NS
        if until_ns is not None and (now_ns >= until_ns or confirmed):
            self._distrusted_until_ns = None

    def _is_put_back(self, now_ns: int, stepped_ns: int) -> bool:
        """Whether the clock has been far behind the watermark for long enough to be believed."""
        if self.value_ns - now_ns <= STEP_MAX_NS:
            self._behind_since_ns = None
        elif self._behind_since_ns is None or abs(stepped_ns) > STEP_MAX_NS:
            self._behind_since_ns = now_ns
        elif now_ns - self._behind_since_ns >= BACK_CONFIRM_NS:
            self._behind_since_ns = None
            return True
        return False
