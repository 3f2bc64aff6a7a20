"""What is given up first when there is more than can be worked on."""

from __future__ import annotations

from enum import StrEnum


class Rung(StrEnum):
    """What may be shed, in this order; pages are no rung, they are never shed.

    LABELS stands for names not seen before: they are counted on the overflow series. FITS are put off.
    """

    TRACES = "traces"
    LOGS = "logs"
    LABELS = "labels"
    FITS = "fits"
