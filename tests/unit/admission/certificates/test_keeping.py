"""Goal: whoever follows the files never sees half a change, and the authority's key does not lie beside the certificate."""

from __future__ import annotations

from pathlib import Path

from sentinel.admission.certificates.issue import Lifetimes, issue
from sentinel.admission.certificates.keeping import (
    FolderPlace,
    Kept,
    put_in_service,
    serving_files,
)

LIFETIMES = Lifetimes(certificate_s=86_400.0, authority_s=864_000.0)
ONE, TWO = (issue(("a.b.svc",), lifetimes=LIFETIMES, now_s=1_790_000_000.0) for _ in range(2))


def test_files_are_switched_together_and_the_old_ones_go(tmp_path: Path) -> None:
    assert put_in_service(tmp_path, ONE)
    assert not put_in_service(tmp_path, ONE)
    cert, key = serving_files(tmp_path)
    assert (cert.read_bytes(), key.read_bytes()) == (ONE.certificate, ONE.key)
    assert put_in_service(tmp_path, TWO)
    assert (cert.read_bytes(), key.read_bytes()) == (TWO.certificate, TWO.key)
    assert sorted(one.name for one in tmp_path.iterdir())[0] == "current"
    assert len(list(tmp_path.iterdir())) == 2


def test_nobody_else_can_read_them_and_the_authoritys_key_is_not_there(tmp_path: Path) -> None:
    folder = tmp_path / "tls"
    put_in_service(folder, ONE)
    assert folder.stat().st_mode & 0o077 == 0
    files = list((folder / "current").iterdir())
    assert {one.name for one in files} == {"ca.crt", "tls.crt", "tls.key"}
    assert all(one.stat().st_mode & 0o777 == 0o600 for one in files)


async def test_a_folder_keeps_everything_over_a_restart(tmp_path: Path) -> None:
    place = FolderPlace(tmp_path / "authority")
    empty = await place.read()
    assert empty == Kept(material=None)
    await place.write(ONE, empty)
    assert (await FolderPlace(tmp_path / "authority").read()).material == ONE
    (tmp_path / "authority/current/ca.key").unlink()
    assert (await place.read()).material is None
