"""A document as somebody follows it: its commands are typed, in their order, and what it says to write is written.

By these rules alone it differs from what stands there:

- addresses of other programs are those of the test's (`addresses`), and the sidecar's own ports are free ones, by its variables;
- `sentinel run` gets `--ready-file`, which tells those ports, and runs on while the next commands are typed, as in a terminal of
  its own; commands that ask the sidecar without saying where get `--url`;
- `more` is put behind a command: what the document itself says may be added to it.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from tests.support.clean_install import surroundings
from tests.support.servers import wait_until

SIDECAR = "http://127.0.0.1:9640"
_BLOCK = re.compile(r"(?ms)^```(console|yaml)\n(.*?)^```$")
_ASKS_THE_SIDECAR = re.compile(r"sentinel (?:check ready|incidents)(?!.*--(?:config|url))")


@dataclass(frozen=True, slots=True)
class Step:
    """Something that is typed, or written into the configuration."""

    kind: Literal["console", "yaml"]
    text: str


def steps_of(text: str) -> list[Step]:
    """The commands and settings of a document, in its order."""
    steps: list[Step] = []
    for kind, block in _BLOCK.findall(text):
        if kind == "yaml":
            steps.append(Step("yaml", block))
            continue
        lines = block.replace("\\\n", " ").splitlines()
        assert all(line.startswith("$ ") for line in lines), block
        steps += [Step("console", line.removeprefix("$ ")) for line in lines]
    return steps


def written_into(config: str, block: str) -> str:
    """The file with settings of a document put where they stand, and at its end where they do not.

    Only what stands outside of all sections is replaced: a person who is told `mode: live` changes the line `mode: shadow`.
    """
    for name, value in yaml.safe_load(block).items():
        if isinstance(value, str):
            config, count = re.subn(rf"(?m)^{name}: .*$", f"{name}: {value}", config)
            assert count == 1, name
        else:
            assert not re.search(rf"(?m)^{name}:", config), name
            config += yaml.safe_dump({name: value})
    return config


@dataclass
class Walk:
    """Somebody in a folder, with a program on the path.

    Attributes:
        prefix: the environment whose programs are on the path.
        folder: where everything is typed.
        addresses: of other programs: what stands in the document, and what is there instead.
        more: what is put behind a command that begins so.
        took: each step and its seconds.
    """

    prefix: Path
    folder: Path
    addresses: Mapping[str, str]
    more: Mapping[str, str] = field(default_factory=dict)
    took: list[tuple[str, float]] = field(default_factory=list)
    _sidecar: dict[str, Any] = field(default_factory=dict)

    def type(self, step: Step) -> str:
        """What a command prints; it must end well."""
        with self.timed(_short(step.text)):
            return self.quietly(step)

    def quietly(self, step: Step) -> str:
        """The same, for who waits for something: its time is not noted."""
        assert step.kind == "console"
        command = self._here(step.text)
        done = subprocess.run(
            ["sh", "-c", command], capture_output=True, text=True, timeout=180, check=False,
            cwd=self.folder, env=self._environment(), stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout + done.stderr

    def write(self, step: Step, file: str) -> None:
        """Put what a document says into a file."""
        assert step.kind == "yaml"
        path = self.folder / file
        text = step.text
        for there, here in self.addresses.items():
            text = text.replace(there, here)
        path.write_text(written_into(path.read_text(), text))

    @contextmanager
    def running(self, step: Step) -> Iterator[Path]:
        """What a command of the document starts, ready; its log."""
        ready, log = self.folder / "ready.json", self.folder / "run.log"
        command = f"exec {self._here(step.text)} --ready-file {ready}"
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["sh", "-c", command], cwd=self.folder, env=self._environment(),
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip
        try:
            with self.timed(f"{_short(step.text)}, until it is ready"):
                wait_until(
                    lambda: ready.exists() or process.poll() is not None, what="the sidecar"
                )
            assert process.poll() is None, log.read_text()
            self._sidecar = json.loads(ready.read_text())
            yield log
            process.terminate()
            assert process.wait(timeout=30) == 0, log.read_text()
        finally:
            if process.poll() is None:
                process.kill()
            process.wait(timeout=10)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Note how long it takes."""
        began = time.monotonic()
        yield
        self.took.append((name, time.monotonic() - began))

    def table(self) -> str:
        """The times, for people."""
        rows = [f"{name:<46}{seconds:8.1f} s" for name, seconds in self.took]
        total = sum(seconds for _, seconds in self.took)
        return "\n".join(["", *rows, f"{'all':<46}{total:8.1f} s", ""])

    def _here(self, command: str) -> str:
        for there, here in self.addresses.items():
            command = command.replace(there, here)
        if self._sidecar:
            url = self._sidecar["web_url"]
            command = command.replace(SIDECAR, url)
            if _ASKS_THE_SIDECAR.match(command):
                command += f" --url {url}"
        behind = [added for beginning, added in self.more.items() if command.startswith(beginning)]
        return " ".join([command, *behind])

    def _environment(self) -> dict[str, str]:
        return {
            **surroundings(self.prefix, self.folder),
            "OPENBLAS_NUM_THREADS": "1",
            "SENTINEL_RECEIVERS__OTLP_HTTP__LISTEN__PORT": "0",
            "SENTINEL_RECEIVERS__OTLP_GRPC__LISTEN__PORT": "0",
            "SENTINEL_WEB__LISTEN__PORT": "0",
        }


def one(steps: Sequence[Step], beginning: str) -> Step:
    """The one step that begins so."""
    [found] = [step for step in steps if step.text.startswith(beginning)]
    return found


def _short(command: str) -> str:
    """A command by its first words.

    >>> _short("sentinel check ready --config a.yaml"), _short("curl -s http://127.0.0.1:9093/api/v2/alerts")
    ('sentinel check ready', 'curl')
    """
    words = []
    for word in command.split()[:3]:
        if not word.isalpha():
            break
        words.append(word)
    return " ".join(words)
