"""Tiers of consumers, as they are configured: what the sources of one gateway share."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sentinel.core.normalise.kong.tiers import TIER_ANONYMOUS, TIER_OTHER, TierRule, Tiers
from sentinel.runtime.settings import setting

TIERS_MAX = 16
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class TierConfig:
    """Consumers of one tier: any pattern that matches is enough; `*`, `?` and `[...]` as in a shell."""

    name: str = setting("tier", help="Name of the tier; the route of its series.")
    groups: tuple[str, ...] = setting(
        (), help="Patterns of consumer groups, where the record names them."
    )
    tags: tuple[str, ...] = setting((), help="Patterns of the consumer's tags.")
    usernames: tuple[str, ...] = setting((), help="Patterns of its username or custom id.")

    def __post_init__(self) -> None:
        if not _NAME.match(self.name):
            msg = "a tier's name has lower-case letters, digits, - and _, at most 63"
            raise ValueError(msg)
        if self.name in (TIER_ANONYMOUS, TIER_OTHER):
            msg = f"{self.name} is the tier of those that no rule is for"
            raise ValueError(msg)
        if not (self.groups or self.tags or self.usernames):
            msg = f"tier {self.name} needs groups, tags or usernames"
            raise ValueError(msg)


def checked_tiers(configs: Sequence[TierConfig]) -> Tiers:
    """The rules, in order; ValueError when they are too many, or two have one name."""
    names = [config.name for config in configs]
    if len(names) > TIERS_MAX:
        msg = f"at most {TIERS_MAX} tiers, not {len(names)}"
        raise ValueError(msg)
    if len(set(names)) != len(names):
        msg = "tiers must have different names"
        raise ValueError(msg)
    return Tiers(
        [
            TierRule(
                tier=config.name,
                groups=config.groups,
                tags=config.tags,
                usernames=config.usernames,
            )
            for config in configs
        ]
    )
