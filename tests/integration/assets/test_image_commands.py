"""Goal: the sidecar of the image starts, and answers, with nothing in it but what the image's recipe names.

Method: assemble.py, the build's last step, is run over a virtual environment that holds the packages of requirements/runtime.txt
and no other; then the recipe's own entry point, arguments and variables start it. Only paths are exchanged, for ones in the test's folder.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import sysconfig
import urllib.request
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

from tests.support.servers import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

ROOT = Path(__file__).parents[3]
TEXT = re.sub(r"\\\n\s*", "", re.sub(r"(?m)^#.*\n", "", (ROOT / "deploy/Dockerfile").read_text()))


MINOR = f"python{sys.version_info.major}.{sys.version_info.minor}"
# What a build without a target makes: the last stage.
LAST = TEXT[TEXT.rindex("\nFROM ") :]


def steps(name: str, *, text: str = LAST) -> list[str]:
    return re.findall(rf"(?m)^{name} (.*)$", text)


def locked_packages(target: Path) -> None:
    """Link what requirements/runtime.txt names, instead of installing it."""
    names = re.findall(r"(?m)^([\w.-]+)==", (ROOT / "requirements/runtime.txt").read_text())
    assert len(names) > 10
    for name in names:
        try:
            files = distribution(name).files or []
        except PackageNotFoundError:
            continue  # for another platform or version of Python
        for top in {file.parts[0] for file in files} - {"..", "__pycache__"}:
            found = Path(sysconfig.get_path("purelib")) / top
            if found.exists() and not (target / top).exists():
                (target / top).symlink_to(found)


def site_packages(home: Path) -> Path:
    [found] = (home / "lib").glob("python*/site-packages")
    return found


def test_the_recipes_commands_work_and_the_entry_point_runs(tmp_path: Path) -> None:
    home = tmp_path / "opt/sentinel"

    def placed(part: str) -> str:
        exchanged = part.replace("/opt/sentinel", str(home))
        return exchanged.replace("/var/lib/sentinel", str(tmp_path / "lib"))

    base = Path(sys.base_prefix) / "bin" / MINOR
    subprocess.run([base, "-m", "venv", "--without-pip", home], check=True, timeout=60)
    locked_packages(site_packages(home))
    [step] = [each for each in steps("RUN", text=TEXT) if '"assemble.py", "sentinel"' in each]
    options = dict(zip(*[iter(json.loads(step)[3:])] * 2, strict=True))
    assert options.keys() == {"--sources", "--prefix", "--interpreter", "--state"}
    options |= {
        "--sources": str(ROOT / "sentinel"),
        "--prefix": str(home),
        "--interpreter": str(base.resolve().with_name(MINOR)),
        "--state": str(tmp_path / "state"),
    }
    command = [sys.executable, str(ROOT / "deploy/image/assemble.py"), "sentinel"]
    for pair in options.items():
        command += pair
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    environment: dict[str, str] = {}
    (tmp_path / "lib").mkdir()
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    assert not (site_packages(home) / "sentinel/reference").exists()

    for variable in " ".join(steps("ENV")).split():
        name, _, value = variable.partition("=")
        environment[name] = placed(value)
    for port in ("RECEIVERS__OTLP_HTTP__LISTEN", "RECEIVERS__OTLP_GRPC__LISTEN", "WEB__LISTEN"):
        environment[f"SENTINEL_{port}__PORT"] = "0"
    [entry], [arguments] = steps("ENTRYPOINT"), steps("CMD")
    ready = tmp_path / "ready.json"
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [placed(part) for part in json.loads(entry)]
            + [*json.loads(arguments), "--ready-file", str(ready)],
            cwd=tmp_path / "lib",
            env=environment,
            stdout=log,
            stderr=log,
        )
    try:
        wait_until(lambda: ready.exists() or process.poll() is not None, what="the image's run")
        assert process.poll() is None, (tmp_path / "log").read_text()
        url = json.loads(ready.read_text())["web_url"]
        with urllib.request.urlopen(f"{url}/-/healthy", timeout=5) as reply:
            assert reply.status == 200
        assert (tmp_path / "lib/store").is_dir()
        # As in the container: by its name, found on the image's path.
        assert environment["PATH"].split(":")[0] == str(home / "bin")
        asked = subprocess.run(
            [home / "bin/sentinel", "incidents", "--url", url],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert (asked.returncode, asked.stdout) == (0, "No incidents.\n"), asked.stderr
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(timeout=10)
