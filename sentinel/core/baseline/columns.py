"""Profiles put together and taken apart by series."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sentinel.core.baseline.profile import Profile, ease_ns


def selected(profile: Profile, wanted: NDArray[np.bool_]) -> Profile:
    """The profile of the wanted series alone, bool[S]."""
    return replace(
        profile,
        series=profile.series[wanted],
        grid=profile.grid[:, wanted],
        steps=_packed(_steps(profile)[:, wanted]) if profile.steps is not None else None,
        ease=None if profile.ease is None else profile.ease[:, wanted],
    )


def joined(profiles: Sequence[Profile]) -> Profile:
    """Profiles of different series on one grid as one; there is at least one, and their series ascend."""
    steps = None
    if any(profile.steps is not None for profile in profiles):
        steps = _packed(np.concatenate([_steps(profile) for profile in profiles], axis=1))
    ease = None
    if any(profile.ease is not None for profile in profiles):
        ease = np.concatenate([_ease(profile) for profile in profiles], axis=1)
    return replace(
        profiles[0],
        series=np.concatenate([profile.series for profile in profiles]),
        grid=np.concatenate([profile.grid for profile in profiles], axis=1),
        steps=steps,
        ease=ease,
    )


def laid_over(below: Profile, above: Profile) -> Profile:
    """The profile below, with each series of which the one above knows anything taken from there whole.

    Both are of one grid, and the series above are among those below.
    """
    known = np.isfinite(above.grid).any(axis=0)
    place = np.searchsorted(below.series, above.series[known])
    grid, steps = below.grid.copy(), _steps(below)
    grid[:, place] = above.grid[:, known]
    steps[:, place] = _steps(above)[:, known]
    return replace(below, grid=grid, steps=_packed(steps))


def _ease(profile: Profile) -> NDArray[np.float32]:
    if profile.ease is not None:
        return profile.ease
    hour_count = -(-len(profile.grid) * profile.step_ns // ease_ns(profile.step_ns))
    return np.ones((hour_count, len(profile.series)), np.float32)


def _steps(profile: Profile) -> NDArray[np.bool_]:
    """bool[B, S], of its own memory."""
    if profile.steps is None:
        return np.zeros(profile.grid.shape, np.bool_)
    count = profile.grid.shape[1]
    return np.unpackbits(profile.steps, axis=1, count=count).view(np.bool_)


def _packed(steps: NDArray[np.bool_]) -> NDArray[np.uint8] | None:
    return np.packbits(steps, axis=1) if steps.any() else None
