"""What `check ready` says of a source of files: which there are, and what keeps them from being read."""

from __future__ import annotations

from sentinel.core.redact import redact
from sentinel.receivers.log_files.config import LogSourceConfig
from sentinel.receivers.log_files.discovery import discover, is_readable
from sentinel.runtime.polling.reach import Reach, ReachStatus


def reach_of(source: LogSourceConfig, what: str) -> Reach:
    """Which files the patterns of a source lead to, and which of them may not be read; blocks, changes nothing."""
    listing = discover((source,), ())
    unreadable = [each.path for each in listing.matched if not is_readable(each.path)]
    if refused := [*listing.denied, *unreadable]:
        # One that can be read does its part; the health of the running receiver says the same.
        some = len(listing.matched) > len(unreadable)
        told = f"{redact(refused[0])} may not be read"
        if len(refused) > 1:
            told = f"{len(refused)} paths may not be read, such as {redact(refused[0])}"
        return Reach(
            what=what,
            status=ReachStatus.DEGRADED if some else ReachStatus.FAILING,
            sentence=told,
            remedy="give the user that Sentinel runs as the group of the log files (often adm)",
        )
    if listing.circular:
        return Reach(
            what=what,
            status=ReachStatus.DEGRADED if listing.matched else ReachStatus.FAILING,
            sentence=f"{redact(listing.circular[0])} is a link that leads to itself",
            remedy="remove the link, or make it lead to the log",
        )
    if not listing.matched:
        return Reach(
            what=what,
            status=ReachStatus.DEGRADED,
            sentence=f"no file matches {', '.join(source.paths)}",
            remedy="look at the paths, and whether their folder is mounted; files that come later are read",
        )
    count = len(listing.matched) + listing.left_out_count
    return Reach(
        what=what,
        status=ReachStatus.OK,
        sentence=f"{count} file{'s' * (count != 1)} can be read",
    )
