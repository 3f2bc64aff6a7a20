"""Goal: whoever was killed between two files of a run's keys goes on at the next start, with the same key.

Method: each half state made by hand, then what `up --dir` does at its start.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sentinel.reference.ledger.audit.keys import kept_key, read_public_key, write_key
from sentinel.reference.ledger.audit.witness import Memory
from sentinel.reference.ledger.domain import LedgerError
from sentinel.reference.ledger.domain.audit.note import LOG_KIND, WITNESS_KIND
from sentinel.reference.ledger.operate.up.audit import AuditFolders, begin
from sentinel.reference.ledger.wire.private_files import has_content, write_once
from sentinel.reference.ledger.wire.webhook_secrets import Opener, Sealer, make_key_files


def files(folders: AuditFolders) -> dict[str, str]:
    top = folders.audit.parent
    return {
        str(file.relative_to(top)): file.read_text()
        for file in sorted(top.rglob("*"))
        if file.is_file()
    }


def without_public_parts(folders: AuditFolders) -> None:
    folders.log_public_key.unlink()
    folders.witness_key.with_name("witness.key.pub").unlink()


def with_empty_public_parts(folders: AuditFolders) -> None:
    folders.log_public_key.write_text("")
    folders.witness_key.with_name("witness.key.pub").write_text("")


def with_drafts(folders: AuditFolders) -> None:
    for file in (folders.log_key, folders.witness_key):
        file.with_name(f"{file.name}.new").write_text("half")
        file.with_name(f"{file.name}.pub.new").write_text("half")


def without_the_witnesss_key(folders: AuditFolders) -> None:
    folders.witness_key.unlink()
    folders.witness_key.with_name("witness.key.pub").unlink()


def with_an_empty_witnesss_key(folders: AuditFolders) -> None:
    without_the_witnesss_key(folders)
    folders.witness_key.touch(mode=0o600)


def without_anything_of_the_witness(folders: AuditFolders) -> None:
    without_the_witnesss_key(folders)
    (folders.memory / "witness").unlink()
    folders.witness_public_key.unlink()


@pytest.mark.parametrize(
    ("half", "has_new_witness"),
    [
        (without_public_parts, False),
        (with_empty_public_parts, False),
        (with_drafts, False),
        (without_the_witnesss_key, True),
        (with_an_empty_witnesss_key, True),
        (without_anything_of_the_witness, True),
    ],
)
def test_a_run_that_was_killed_between_two_files_starts_again(
    tmp_path: Path, half: Callable[[AuditFolders], None], *, has_new_witness: bool
) -> None:
    folders = AuditFolders.below(tmp_path)
    begin(folders)
    whole = files(folders)
    half(folders)
    begin(folders)
    after = {name: text for name, text in files(folders).items() if not name.endswith(".new")}
    changed = {name for name in after if after[name] != whole[name]}
    assert after.keys() == whole.keys()
    witness = {"witness/witness.key", "witness/witness.key.pub", "audit/witness.key.pub"}
    assert changed == (witness if has_new_witness else set())
    key = read_public_key(str(folders.witness_public_key), kind=WITNESS_KIND)
    assert kept_key(folders.witness_key, kind=WITNESS_KIND) == key
    Memory(folders.memory).open()


def test_an_empty_key_of_the_log_is_none_and_a_new_one_is_made(tmp_path: Path) -> None:
    folders = AuditFolders.below(tmp_path)
    folders.audit.mkdir()
    folders.log_key.touch(mode=0o600)
    begin(folders)
    public = read_public_key(str(folders.log_public_key), kind=LOG_KIND)
    assert kept_key(folders.log_key, kind=LOG_KIND) == public


def test_a_witness_whose_memory_is_used_gets_no_new_key(tmp_path: Path) -> None:
    folders = AuditFolders.below(tmp_path)
    begin(folders)
    (folders.memory / "some.checkpoint").write_text("signed")
    folders.witness_key.unlink()
    with pytest.raises(LedgerError, match="memory already"):
        begin(folders)
    assert not folders.witness_key.exists()


def test_a_public_part_without_its_key_is_not_written_over(tmp_path: Path) -> None:
    folders = AuditFolders.below(tmp_path)
    begin(folders)
    public = folders.log_public_key.read_text()
    folders.log_key.unlink()
    with pytest.raises(LedgerError, match="never written over"):
        begin(folders)
    assert folders.log_public_key.read_text() == public
    assert not folders.log_key.exists()


@pytest.mark.parametrize("left", ["", None])
def test_keys_of_webhooks_are_made_where_an_empty_file_was_left(
    tmp_path: Path, left: str | None
) -> None:
    private, public = tmp_path / "webhooks.key", tmp_path / "webhooks.pub"
    if left is not None:
        private.write_text(left)
        public.write_text(left)
    private.with_name("webhooks.key.new").write_text("half")
    make_key_files(private=private, public=public)
    kept = private.read_text()
    sealed = Sealer.of_file(public).seal("whsec_x")
    public.unlink()
    make_key_files(private=private, public=public)
    assert private.read_text() == kept
    assert Opener.of_file(private).open(sealed) == "whsec_x"


def test_a_kill_before_the_last_step_leaves_no_file_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "key"

    class KilledError(Exception):
        pass

    def killed(*_: object) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(os, "link", killed)
        with pytest.raises(KilledError):
            write_once(file, b"secret")
    assert not has_content(file)
    write_once(file, b"other")
    assert file.read_bytes() == b"other"
    assert file.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        write_once(file, b"third")
    assert [one.name for one in tmp_path.iterdir()] == ["key"]


def test_who_was_faster_is_not_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sentinel.reference.ledger.audit import keys

    file = tmp_path / "log.key"
    first, second = keys.new_key("a"), keys.new_key("a")

    def also(path: Path, content: bytes) -> None:
        path.write_bytes(f"{first.secret_text()}\n".encode())
        path.chmod(0o600)
        write_once(path, content)

    monkeypatch.setattr(keys, "write_once", also)
    with pytest.raises(LedgerError, match="never written over"):
        write_key(second, file)
    assert kept_key(file, kind=LOG_KIND) == first.public
