"""Which tier a consumer of a gateway belongs to: rules in order, the first that matches decides.

A tier is a label of series, so there are few, and they are named by the configuration, never by what is received.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

TIER_ANONYMOUS = "anonymous"
"""Callers that no consumer was found for."""

TIER_OTHER = "other"
"""Consumers that no rule matches."""

_KNOWN_MAX = 4096
_NAMES_MAX = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class TierRule:
    """Consumers of one tier: any pattern that matches is enough; `*`, `?` and `[...]` as in a shell.

    Attributes:
        tier: its name.
        groups: patterns of the names of consumer groups.
        tags: patterns of tags.
        usernames: patterns of usernames and custom ids.
    """

    tier: str
    groups: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    usernames: tuple[str, ...] = ()

    def matches(
        self, *, usernames: Sequence[str], tags: Sequence[str], groups: Sequence[str]
    ) -> bool:
        """Whether a consumer with these names is of the tier."""
        return (
            _any_matches(groups, self.groups)
            or _any_matches(tags, self.tags)
            or _any_matches(usernames, self.usernames)
        )


class Tiers:
    """The rules, and a bounded memory of what they said."""

    def __init__(self, rules: Sequence[TierRule] = ()) -> None:
        self._rules = tuple(rules)
        self._known: dict[tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]], str] = {}

    def __bool__(self) -> bool:
        return bool(self._rules)

    def of(
        self, *, usernames: Sequence[str], tags: Sequence[str] = (), groups: Sequence[str] = ()
    ) -> str:
        """The tier of a consumer; `TIER_ANONYMOUS` for one without any name.

        >>> tiers = Tiers([TierRule(tier="gold", tags=("plan-gold",)), TierRule(tier="free", usernames=("trial-*",))])
        >>> tiers.of(usernames=["trial-8"]), tiers.of(usernames=["acme"], tags=["plan-gold"]), tiers.of(usernames=["x"])
        ('free', 'gold', 'other')
        """
        if not usernames and not groups and not tags:
            return TIER_ANONYMOUS
        key = (tuple(usernames[:_NAMES_MAX]), tuple(tags[:_NAMES_MAX]), tuple(groups[:_NAMES_MAX]))
        tier = self._known.get(key)
        if tier is None:
            tier = next(
                (
                    rule.tier
                    for rule in self._rules
                    if rule.matches(usernames=key[0], tags=key[1], groups=key[2])
                ),
                TIER_OTHER,
            )
            if len(self._known) >= _KNOWN_MAX:
                self._known.clear()
            self._known[key] = tier
        return tier


def _any_matches(names: Sequence[str], patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns for name in names)
