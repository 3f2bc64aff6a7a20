"""Generates the ledger's clients for Python, Node.js and Go out of its contract, and compiles them: `make sdks`.

    build/sdks/python   a package ledger_client, of pydantic and urllib3
    build/sdks/node     a package ledger-client, compiled by TypeScript, without dependencies
    build/sdks/go       a module ledger.example/clients/ledger, without dependencies

openapi-generator is content with much that does not compile, and ends well nevertheless: so each client is compiled here, and its
Python is imported as well. What is generated is nobody's to edit, and is not kept.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sentinel.reference.ledger.edge.contract import document, for_generators

ROOT = Path(__file__).resolve().parents[1]
TIMEOUT_S = 1200


class FailedError(Exception):
    """Something could not be generated or compiled; the message says what its tool said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """How one language's client is made.

    Attributes:
        generator: openapi-generator's name of it.
        options: its properties.
        others: further arguments.
        without: schemas that its compiler, or ours, would want another library for.
        compiled: compiles what is in a folder.
    """

    generator: str
    options: Mapping[str, str]
    others: Sequence[str] = ()
    without: Sequence[str] = ()
    compiled: Callable[[Path], None]


def compile_python(folder: Path) -> None:
    """Compile and import all of it."""
    run([sys.executable, "-m", "compileall", "-q", str(folder / "ledger_client")])
    found = sorted((folder / "ledger_client").rglob("[!_]*.py"))
    names = [".".join(path.relative_to(folder).with_suffix("").parts) for path in found]
    run(
        [sys.executable, "-c", f"import importlib; [importlib.import_module(n) for n in {names}]"],
        cwd=folder,
    )


def compile_node(folder: Path) -> None:
    """Compile TypeScript into `dist/`, by the settings that were generated."""
    run([tool("tsc", ROOT / "tests/node/node_modules/.bin", "make node-deps"), "-p", str(folder)])


def compile_go(folder: Path) -> None:
    """Build and vet the module; nothing is fetched."""
    go = tool("go", Path(sys.prefix) / "bin", "make sdk-deps")
    for command in ("build", "vet"):
        run([go, command, "./..."], cwd=folder, environment=go_environment(folder))


def go_environment(folder: Path) -> dict[str, str]:
    """Return what keeps Go to what is there: no proxy, no other toolchain, its cache beside the module."""
    cache = folder.parent / ".go-cache"
    return {
        **os.environ,
        "GOCACHE": str(cache),
        "GOENV": "off",
        "GOFLAGS": "-mod=mod",
        "GOPATH": str(cache / "path"),
        "GOPROXY": "off",
        "GOTOOLCHAIN": "local",
        "CGO_ENABLED": "0",
    }


CLIENTS: Mapping[str, Client] = {
    "python": Client(
        generator="python",
        options={"packageName": "ledger_client", "projectName": "ledger-client"},
        # Left to itself, it calls them var_field and var_from.
        others=("--name-mappings", "field=field,from=from_"),
        compiled=compile_python,
    ),
    "node": Client(
        generator="typescript-fetch",
        options={"npmName": "ledger-client", "supportsES6": "true"},
        compiled=compile_node,
    ),
    "go": Client(
        generator="go",
        options={
            "packageName": "ledger",
            # What an answer says more than it did when the client was made is no error.
            "disallowAdditionalPropertiesIfNotPresent": "false",
        },
        others=(
            *("--git-host", "ledger.example"),
            *("--git-user-id", "clients", "--git-repo-id", "ledger"),
        ),
        # It tells apart what may be one of several by a validator of another's; the events themselves are there.
        without=("WebhookEvent",),
        compiled=compile_go,
    ),
}


def main(argv: list[str] | None = None) -> int:
    """Make the clients that are asked for, all when none is; 1 when one of them failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("languages", nargs="*", metavar="LANGUAGE", help=", ".join(CLIENTS))
    parser.add_argument("--output", type=Path, default=ROOT / "build/sdks", metavar="FOLDER")
    given = parser.parse_args(argv)
    unknown = set(given.languages) - CLIENTS.keys()
    if unknown:
        parser.error(f"no such language: {', '.join(sorted(unknown))}")
    try:
        for language in given.languages or CLIENTS:
            folder = generate(language, given.output.resolve())
            CLIENTS[language].compiled(folder)
            print(f"{language}: {folder}")
    except FailedError as error:
        print(f"sdks: {error}", file=sys.stderr)
        return 1
    return 0


def generate(language: str, output: Path) -> Path:
    """Return the folder that one client was generated into; what was there before is gone.

    Raises:
        FailedError: it could not be generated.
    """
    client = CLIENTS[language]
    folder = output / language
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    contract = output / f"{language}.openapi.json"
    contract.write_text(json.dumps(_without(for_generators(document()), client.without), indent=1))
    options = {**client.options, "hideGenerationTimestamp": "true"}
    command = [
        *(sys.executable, "-c", "import openapi_generator_cli; openapi_generator_cli.cli()"),
        "generate",
        *("--generator-name", client.generator, "--input-spec", str(contract)),
        *("--output", str(folder), *client.others),
        *(
            "--additional-properties",
            ",".join(f"{name}={value}" for name, value in options.items()),
        ),
        "--global-property=apiDocs=false,modelDocs=false,apiTests=false,modelTests=false",
    ]
    run(command)
    return folder


def _without(document: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    left = copy.deepcopy(document)
    for name in names:
        del left["components"]["schemas"][name]
    return left


def tool(name: str, beside: Path, brought_by: str) -> str:
    """Return the path of a program: the one that was installed for this, or what is on PATH.

    Raises:
        FailedError: there is none.
    """
    installed = beside / name
    found = str(installed) if installed.exists() else shutil.which(name)
    if found is None:
        message = f"{name} is absent: {brought_by}"
        raise FailedError(message)
    return found


def run(
    command: Sequence[str], *, cwd: Path | None = None, environment: dict[str, str] | None = None
) -> None:
    """Run a tool to its end.

    Raises:
        FailedError: it failed, or took longer than TIMEOUT_S.
    """
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        message = f"{command[0]} took longer than {TIMEOUT_S} s"
        raise FailedError(message) from error
    if done.returncode != 0:
        message = f"{' '.join(command[:4])} failed:\n{(done.stdout + done.stderr)[-4000:]}"
        raise FailedError(message)


if __name__ == "__main__":
    sys.exit(main())
