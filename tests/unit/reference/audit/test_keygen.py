"""Goal: keys are made once and stay, and a witness that could have forgotten something is never made. Method: the command, on files."""

from __future__ import annotations

from pathlib import Path

import pytest

from sentinel.reference.ledger.audit.keys import read_public_key
from sentinel.reference.ledger.audit.witness import Memory
from sentinel.reference.ledger.domain.audit.note import WITNESS_KIND
from sentinel.reference.ledger.operate import cli
from sentinel.reference.ledger.wire.private_files import is_private


def keygen(*arguments: str | Path) -> int:
    return cli.run(["audit", "keygen", *map(str, arguments)])


def test_a_key_that_is_kept_stays_and_is_shown_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, public = tmp_path / "log.key", tmp_path / "public"
    asked = ("--name", "ledger.example", "--file", file, "--public", public, "--keep")
    assert keygen(*asked) == 0
    first, secret = capsys.readouterr().out, file.read_text()
    public.unlink()
    Path(f"{file}.pub").unlink()
    assert keygen(*asked) == 0
    assert Path(f"{file}.pub").read_text() == first
    assert capsys.readouterr().out == first == public.read_text()
    assert file.read_text() == secret
    # Without the word it is an error, as is another name: whoever asks for that does not mean this key.
    assert keygen(*asked[:-1]) == 1
    assert keygen("--name", "other.example", *asked[2:]) == 1
    assert "is called ledger.example, and not other.example" in capsys.readouterr().err
    assert secret.strip() not in first


def test_a_witness_begins_with_key_and_memory_together(tmp_path: Path) -> None:
    """As its init container asks at each start: on an empty volume, after a kill between the two, and ever after."""
    file, memory = tmp_path / "own/witness.key", tmp_path / "own/memory"
    asked = ("--witness", "--name", "w", "--file", file, "--memory", memory, "--keep")
    assert keygen(*asked) == 0
    key = read_public_key(f"{file}.pub", kind=WITNESS_KIND)
    file.unlink()
    Path(f"{file}.pub").unlink()
    assert keygen(*asked) == 0
    assert read_public_key(f"{file}.pub", kind=WITNESS_KIND) != key
    (memory / "some.checkpoint").write_text("signed")
    assert keygen(*asked) == 0
    # The key is lost and the memory is not: a new key would sign as if nothing had been signed, so nobody makes one.
    file.unlink()
    assert keygen(*asked) == 1
    assert not file.exists()
    Memory(memory).open()


def test_a_memory_is_a_witnesss(tmp_path: Path) -> None:
    asked = ("--name", "log", "--file", tmp_path / "k", "--memory", tmp_path / "m")
    assert keygen(*asked) == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("mode", "owner", "private"),
    [
        (0o400, 65532, True),
        (0o600, 65532, True),
        (0o640, 65532, False),
        (0o604, 65532, False),
        # A Secret that is mounted for a group: root's, whom nothing is hidden from.
        (0o440, 0, True),
        (0o640, 0, True),
        (0o660, 0, False),
        (0o444, 0, False),
        (0o440, 1000, False),
    ],
)
def test_whose_a_file_with_a_key_may_be(mode: int, owner: int, private: bool) -> None:  # noqa: FBT001
    assert is_private(mode, owner=owner, reader=65532) is private


def test_roots_own_process_asks_the_same_of_its_files_as_any() -> None:
    assert not is_private(0o440, owner=0, reader=0)
    assert is_private(0o400, owner=0, reader=0)
