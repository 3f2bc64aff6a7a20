"""What a sidecar does of what its service needs, and what of a configuration does not go with it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum

from sentinel.errors import ConfigProblem
from sentinel.runtime.config.text import Origin
from sentinel.senders.windows.config import CollectConfig

_NUMBERED = re.compile(r".*-([0-9]{1,9})", re.DOTALL)


class Role(StrEnum):
    """Of several sidecars of a service one scores; of one sidecar it is the same one."""

    BOTH = "both"
    COLLECT = "collect"
    SCORE = "score"


def role_problems(
    role: Role,
    *,
    replicas: int,
    replica_name: str,
    each_replica_scores: bool,
    collect: CollectConfig,
    is_listened: bool,
    origins: Mapping[str, Origin],
) -> list[ConfigProblem]:
    """What makes a role impossible.

    Args:
        role: the role.
        replicas: how many replicas of this sidecar its service is said to have.
        replica_name: what a StatefulSet calls this one, counting from 0; "" where names say nothing.
        each_replica_scores: whether `both` is meant even so.
        collect: where windows are sent.
        is_listened: whether the scorer has a way in for windows.
        origins: where settings come from.
    """
    problems: list[tuple[str, str]] = []
    if replicas < 1:
        problems.append(("replicas", "must be at least 1"))
    number = _number(replica_name)
    if number is None:
        message = "must end in the replica's number, as names that a StatefulSet gives do: sentinel-scorer-0"
        problems.append(("replica_name", message))
    if role is Role.BOTH and not each_replica_scores and (replicas > 1 or number):
        there_are = (
            f"there are {replicas} replicas"
            if replicas > 1
            else f"{replica_name} is not the only replica"
        )
        problems.append(
            (
                "role",
                f"`both` decides by what one process hears, and {there_are}: each would page for a share of"
                " the traffic. Give them `role: collect` and run one more with `role: score`; or, where each replica is a"
                " service of its own, say `each_replica_scores: true`",
            )
        )
    if role is Role.COLLECT and not collect.is_given:
        problems.append(
            (
                "collect.url",
                "`role: collect` needs a scorer: give `collect.url` or `collect.nats.urls`",
            )
        )
    if role is Role.SCORE and (replicas > 1 or number):
        more = "" if replicas > 1 else f", and {replica_name} is one more: scale back to one"
        problems.append(
            (
                "replicas" if replicas > 1 else "replica_name",
                f"of a service there is one `score`: two would each merge a part of the windows{more}",
            )
        )
    if role is Role.SCORE and not is_listened:
        problems.append(
            (
                "receivers.windows_http.enabled",
                "`role: score` needs a way in for windows: this one, or `receivers.windows_nats.urls`",
            )
        )
    return [origins.get(path, Origin()).problem(path, message) for path, message in problems]


def _number(replica_name: str) -> int | None:
    """Which replica it is, 0 for the first and where no name is given; None for a name without a number."""
    if not replica_name:
        return 0
    found = _NUMBERED.fullmatch(replica_name)
    return None if found is None else int(found[1])


def role_warnings(
    role: Role, *, shared_scrapers: list[str], has_destinations: bool
) -> list[ConfigProblem]:
    """What of a configuration has no effect, or another than may be meant.

    Args:
        role: the role.
        shared_scrapers: sections of targets that are the same for all replicas.
        has_destinations: whether pages are to go somewhere.
    """
    if role is not Role.COLLECT:
        return []
    found = [
        ConfigProblem(
            path=path,
            message="every collector would ask the same servers, and their amounts would add up: leave it to the scorer",
        )
        for path in shared_scrapers
    ]
    if has_destinations:
        message = "a collector pages nobody: destinations are the scorer's"
        found.append(ConfigProblem(path="senders", message=message))
    return found
