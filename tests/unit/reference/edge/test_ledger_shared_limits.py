"""Goal: edges that share a file of limits admit together what one edge would, whoever of them dies, stops or comes back.

Method: limiters on one file, in this process and in others that are released at once, under a clock that stands still.
"""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sentinel.reference.ledger.domain import UnreadableError, UsageError
from sentinel.reference.ledger.domain.limits import Allowance, Allowed, Limit, Refused
from sentinel.reference.ledger.domain.tenant import Tenant
from sentinel.reference.ledger.edge.limits import shared
from sentinel.reference.ledger.edge.limits.limiter import Limiter
from sentinel.reference.ledger.edge.limits.shared import SharedTats, open_shared

SECOND_NS = 1_000_000_000
ASKING = """
import sys
from pathlib import Path
from sentinel.reference.ledger.domain.limits import Allowance, Allowed, Limit
from sentinel.reference.ledger.domain.tenant import Tenant
from sentinel.reference.ledger.edge.limits.limiter import Limiter
from sentinel.reference.ledger.edge.limits import shared
from sentinel.reference.ledger.edge.limits.shared import open_shared

# Here somebody is in the lock nearly always, and may have to wait for a processor there.
shared._LOCK_PATIENCE_S = 60.0
limiter = Limiter(shared=open_shared(Path(sys.argv[1])))
tenant = Tenant(name="a", cohort=0, allowance=Allowance(limit=Limit(rps=1, burst=1000)))
print("ready", flush=True)
sys.stdin.readline()
print(sum(isinstance(limiter.check(tenant, now_ns=0, steady_ns=10**12), Allowed) for _ in range(700)))
"""


def tenant(name: str, *, rps: int = 1, burst: int = 2) -> Tenant:
    return Tenant(name=name, cohort=0, allowance=Allowance(limit=Limit(rps=rps, burst=burst)))


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[SharedTats, SharedTats]]:
    both = open_shared(tmp_path / "limits"), open_shared(tmp_path / "limits")
    yield both
    for one in both:
        one.close()


def test_what_one_edge_admits_counts_at_the_other(pair: tuple[SharedTats, SharedTats]) -> None:
    one, other = (Limiter(shared=tats) for tats in pair)
    assert isinstance(one.check(tenant("a"), now_ns=0, steady_ns=5), Allowed)
    assert isinstance(other.check(tenant("a"), now_ns=0, steady_ns=5), Allowed)
    refused = one.check(tenant("a"), now_ns=0, steady_ns=5)
    assert isinstance(refused, Refused)
    assert refused.retry_after_ns == SECOND_NS
    assert isinstance(other.check(tenant("b"), now_ns=0, steady_ns=5), Allowed)
    at_ns = 5 + SECOND_NS
    assert isinstance(other.check(tenant("a"), now_ns=0, steady_ns=at_ns), Allowed)
    assert isinstance(one.check(tenant("a"), now_ns=0, steady_ns=at_ns), Refused)


def test_processes_that_ask_at_once_are_given_the_limit_and_no_request_more(
    tmp_path: Path,
) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", ASKING, str(tmp_path / "limits")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    try:
        for one in processes:
            assert one.stdout is not None
            assert one.stdout.readline() == "ready\n"
        for one in processes:
            assert one.stdin is not None
            one.stdin.write("go\n")
            one.stdin.flush()
        admitted = [int(one.communicate(timeout=60)[0]) for one in processes]
    finally:
        for one in processes:
            one.kill()
            one.wait()
    assert sum(admitted) == 1000
    assert (tmp_path / "limits").stat().st_mode & 0o777 == 0o600


def test_an_edge_that_comes_back_goes_on_with_what_was_taken(tmp_path: Path) -> None:
    for expected in (Allowed, Allowed, Refused):
        tats = open_shared(tmp_path / "limits")
        assert isinstance(
            Limiter(shared=tats).check(tenant("a"), now_ns=0, steady_ns=SECOND_NS), expected
        )
        tats.close()


def test_what_was_written_before_the_machine_started_is_of_another_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = open_shared(tmp_path / "limits")
    limiter = Limiter(shared=before)
    for _ in range(2):
        limiter.check(tenant("a"), now_ns=0, steady_ns=10**18)
    before.close()
    (tmp_path / "boot").write_text("0f0e0d0c-0b0a-0908-0706-050403020100\n")
    monkeypatch.setattr(shared, "_BOOT_ID", tmp_path / "boot")
    after = open_shared(tmp_path / "limits")
    assert isinstance(
        Limiter(shared=after).check(tenant("a"), now_ns=0, steady_ns=SECOND_NS), Allowed
    )
    after.close()


def test_who_owes_nothing_makes_room_and_failing_that_who_owes_least(tmp_path: Path) -> None:
    tats = open_shared(tmp_path / "limits", slots_count=16)  # one window
    forgotten: list[int] = []
    tats.on_forgotten = lambda: forgotten.append(1)
    limiter = Limiter(shared=tats)
    for number in range(16):
        limiter.check(tenant(f"t{number}", burst=5), now_ns=0, steady_ns=SECOND_NS)
        if number:
            limiter.check(tenant(f"t{number}", burst=5), now_ns=0, steady_ns=SECOND_NS)
    assert isinstance(limiter.check(tenant("new"), now_ns=0, steady_ns=SECOND_NS), Allowed)
    assert forgotten == [1]
    # It was t0, which now begins anew in the place of whom else owes least.
    first = limiter.check(tenant("t0", burst=2), now_ns=0, steady_ns=SECOND_NS)
    assert isinstance(first, Allowed)
    assert first.remaining_count == 1
    assert forgotten == [1, 1]
    limiter.check(tenant("late"), now_ns=0, steady_ns=10 * SECOND_NS)
    assert forgotten == [1, 1]
    tats.close()


def test_a_process_that_is_stopped_inside_the_lock_holds_nobody_up_for_long(
    pair: tuple[SharedTats, SharedTats], tmp_path: Path
) -> None:
    unlocked: list[int] = []
    pair[0].on_unlocked = lambda: unlocked.append(1)
    limiter = Limiter(shared=pair[0])
    held = os.open(tmp_path / "limits", os.O_RDWR)
    fcntl.flock(held, fcntl.LOCK_EX)
    decided = [limiter.check(tenant("a"), now_ns=0, steady_ns=5) for _ in range(3)]
    assert [isinstance(one, Allowed) for one in decided] == [True, True, False]
    assert len(unlocked) == 3
    os.close(held)


@pytest.mark.parametrize("content", [b"x", b"LEDGTAT1" + bytes(56), b"{}" * 500])
def test_a_file_that_is_something_else_is_refused_and_stays(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "limits").write_bytes(content)
    with pytest.raises(UsageError, match="no file of limits"):
        open_shared(tmp_path / "limits")
    assert (tmp_path / "limits").read_bytes() == content


def test_a_file_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match="No such file"):
        open_shared(tmp_path / "nowhere" / "limits")
    (tmp_path / "link").symlink_to(tmp_path / "limits")
    with pytest.raises(UnreadableError):
        open_shared(tmp_path / "link")


def test_every_page_of_the_file_has_its_place_on_the_disk(tmp_path: Path) -> None:
    """A sparse file that is mapped kills who writes to it once the disk is full: SIGBUS, at a request, in each edge."""
    file = tmp_path / "limits"
    open_shared(file).close()
    size = file.stat().st_size
    assert size > 500_000
    assert file.stat().st_blocks * 512 >= size
    # One of an earlier version, with a tenant's number in it and holes after that.
    head = file.read_bytes()[:4096]
    file.unlink()
    with file.open("wb") as sparse:
        sparse.write(head)
        sparse.truncate(size)
    assert file.stat().st_blocks * 512 < size
    open_shared(file).close()
    assert file.stat().st_blocks * 512 >= size
    assert file.read_bytes()[:4096] == head


def test_a_disk_without_room_refuses_the_start_and_leaves_nothing_half_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "limits"

    def full(descriptor: int, offset: int, length: int) -> None:
        # As by a library that writes block after block where the system knows no better.
        os.ftruncate(descriptor, min(length, 8192))
        assert offset == 0
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        with pytest.raises(UnreadableError, match="no room for the file of limits"):
            open_shared(file)
    assert file.stat().st_size == 0
    open_shared(file).close()
