"""Goal: the command says in a sentence what does not go together or cannot be, and a dry run counts what would be written.

Method: the command in this process, on a small store as a backfill leaves it.
"""

from __future__ import annotations

import json
import ssl
import sys
import time
from base64 import b64encode
from pathlib import Path

import pytest

from sentinel.cli.main import main
from tests.support.past_store import DAY_NS, past_store
from tests.support.remote_write import write_receiver
from tests.support.tls import make_certificate

URL = "http://127.0.0.1:1"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half a day that ends an hour ago: everything but an expectation is there."""
    begun_ns = (time.time_ns() - DAY_NS // 2) // DAY_NS * DAY_NS - DAY_NS
    return past_store(tmp_path_factory.mktemp("past"), start_ns=begun_ns, days=0.5)


def export(capsys: pytest.CaptureFixture[str], *args: str | Path) -> tuple[int, str, str]:
    try:
        code = main(["baseline", "export", *map(str, args)])
    except SystemExit as stopped:
        code = int(stopped.code or 0)
    shown = capsys.readouterr()
    return code, shown.out, shown.err


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((), "one of the arguments --openmetrics --remote-write is required"),
        (("--openmetrics", "x", "--remote-write", URL), "not allowed with argument"),
        (("--openmetrics", "x", "--tenant", "a"), "--tenant: only for --remote-write"),
        (("--remote-write", URL, "--split", "6h"), "--split: only for --openmetrics"),
        (("--remote-write", URL, "--with-head"), "--with-head: only for --openmetrics"),
        (("--openmetrics", "x", "--split", "3h"), "3h is no multiple of 2h"),
        (("--openmetrics", "x", "--label", "route=x"), "route says which series it is"),
        (("--openmetrics", "x", "--label", "a=1", "--label", "a=2"), "a label is given twice"),
        (("--openmetrics", "x", "--last", "7d", "--from", "2026-01-01"), "two beginnings"),
        (("--openmetrics", "x", "--from", "2026-01-02", "--to", "2026-01-01"), "not before --to"),
        (("--remote-write", "ftp://x"), "must be absolute"),
        (("--remote-write", "http://a:b@x/"), "must not carry credentials"),
        (("--remote-write", URL, "--timeout", "61"), "not a number of seconds"),
        (("--remote-write", URL, "--give-up-after", "0"), "not a number of seconds"),
        (("--remote-write", URL, "--tenant", "a\nb"), "printable ASCII"),
    ],
)
def test_what_does_not_go_together_is_a_fault_of_usage(
    args: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = export(capsys, *args)
    assert (code, out) == (2, "")
    assert said in err


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("--series", "nobody *"), 1, "no series has such a name"),
        (("--windows", "1m"), 1, "the store has no such windows"),
        (("--to", "2020-01-01"), 1, "there is no window in that span"),
        (("--windows", "decided"), 1, "there is no window in that span"),
        (("--store", "/nowhere"), 3, "there is no store in /nowhere"),
    ],
)
def test_where_there_is_nothing_it_says_so(
    store: Path,
    tmp_path: Path,
    args: tuple[str, ...],
    code: int,
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found, out, err = export(capsys, "--store", store, "--openmetrics", tmp_path / "om", *args)
    assert (found, out) == (code, "")
    assert said in err
    assert not (tmp_path / "om").exists()


def test_a_dry_run_counts_what_would_be_written_and_writes_nothing(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ("--store", store, "--series", "pay *", "-o", "json")
    code, dry, err = export(capsys, *args, "--openmetrics", tmp_path / "om", "--dry-run")
    assert code == 0
    assert "no label instance is given" in err
    assert not (tmp_path / "om").exists()
    code, real, _ = export(capsys, *args, "--openmetrics", tmp_path / "om")
    assert code == 0
    told = json.loads(dry)
    assert told.pop("dry_run") is True
    assert told["series"] == 3
    assert told["samples"] > 300
    assert told.items() <= json.loads(real).items()
    # For a receiver it is the same, and it need not be there.
    code, dry, _ = export(capsys, *args, "--remote-write", URL, "--dry-run")
    assert (code, json.loads(dry)["samples"]) == (0, told["samples"])
    (tmp_path / "om" / "older.om").write_text("# EOF\n")
    _, out, err = export(capsys, *args[:-2], "--openmetrics", tmp_path / "om")
    assert "1 more files" in err
    assert out.endswith(
        f"Next: for file in {tmp_path}/om/*.om; do"
        ' promtool tsdb create-blocks-from openmetrics "$file" blocks; done\n'
    )


def test_the_head_is_left_out_unless_it_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begun_ns = time.time_ns() // (300 * 10**9) * 300 * 10**9 - DAY_NS // 4
    past_store(tmp_path / "store", start_ns=begun_ns, days=0.25)
    args = ("--store", tmp_path / "store", "--openmetrics", tmp_path / "om", "-o", "json")
    _, out, err = export(capsys, *args, "--dry-run")
    assert "the last 3 hours are left out" in err
    short = json.loads(out)
    _, out, err = export(capsys, *args, "--dry-run", "--with-head")
    assert "left out" not in err
    whole = json.loads(out)
    assert short["start"] == whole["start"]
    assert 0.4 < short["windows"] / whole["windows"] < 0.6


def test_after_a_receiver_that_goes_away_it_says_how_to_go_on(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    token = tmp_path / "token"
    token.write_text("s3cr3t\n")
    args: list[str | Path] = ["--store", store, "--bearer-token-file", token, "-o", "json"]
    with write_receiver() as whole:
        assert export(capsys, *args, "--remote-write", whole.url)[0] == 0
        assert {one["authorization"] for one in whole.requests} == {"Bearer s3cr3t"}
    with write_receiver() as receiver:
        args += ["--remote-write", receiver.url, "--give-up-after", "0.3"]
        # The seventh hour, and all that is asked after it.
        take, count = receiver.take, 0

        def failing(headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], str]:
            nonlocal count
            count += 1
            return take(headers, body) if count < 7 else (503, {}, "gone")

        receiver.take = failing  # type: ignore[method-assign]
        code, out, err = export(capsys, *args)
        assert code == 3
        assert "did not take a request within 0.3 s: status 503: gone" in err
        assert json.loads(out)["requests"] == 6
        receiver.take = take  # type: ignore[method-assign]
        (rest,) = (line for line in err.splitlines() if "goes on" in line)
        _, _, option = rest.partition("; ")
        flag, instant, *_ = option.split()
        assert export(capsys, *args, flag, instant)[0] == 0
        assert receiver.series == whole.series


def test_without_the_extra_it_names_it(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("cramjam", "sentinel.history.writing.sending"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "sentinel.history.writing.remote_write", raising=False)
    monkeypatch.delitem(sys.modules, "sentinel.history.writing.sending", raising=False)
    code, _, err = export(capsys, "--store", store, "--remote-write", URL)
    assert code == 3
    assert "pip install 'sentinel-sidecar[remote-write]' brings it" in err


@pytest.mark.parametrize("text", ["", "two\nlines", "ü"])
def test_a_secret_that_cannot_be_sent_is_named_by_its_file(
    store: Path, tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "password"
    file.write_text(text)
    code, _, err = export(
        capsys, "--store", store, "--remote-write", URL, "--bearer-token-file", file
    )
    assert code == 1
    assert f"{file} must hold one line" in err


def test_a_receiver_behind_tls_is_believed_by_its_authority_and_told_who_we_are(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    certificate, key = make_certificate(tmp_path, "receiver")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    password = tmp_path / "password"
    password.write_text("pass:word")
    with write_receiver(tls=context) as receiver:
        args: list[str | Path] = ["--store", store, "--remote-write", receiver.url]
        code, _, err = export(capsys, *args, "--give-up-after", "0.3")
        assert code == 3
        assert "certificate" in err
        assert receiver.requests == []
        args += ["--ca-file", certificate, "--basic-username", "team"]
        assert export(capsys, *args, "--basic-password-file", password)[0] == 0
        known = {one["authorization"] for one in receiver.requests}
        assert known == {f"Basic {b64encode(b'team:pass:word').decode()}"}
        # A name without a password is no proof.
        code, _, err = export(capsys, *args)
        assert (code, "belong together" in err) == (1, True)
