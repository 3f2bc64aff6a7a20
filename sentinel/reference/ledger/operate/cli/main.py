"""Command line of the ledger: arguments in, exit code out.

Exit codes: 0 done, 1 the thing run went wrong, 2 usage, 3 could not be reached or read, 130
interrupted before it had begun.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from typing import Final

from sentinel.reference.ledger.domain import (
    LedgerError,
    UnavailableError,
    UnreadableError,
    UsageError,
)
from sentinel.reference.ledger.operate.cli.audit import add_audit
from sentinel.reference.ledger.operate.cli.books import (
    add_analytics,
    add_disburse,
    add_migrate,
    add_poster,
)
from sentinel.reference.ledger.operate.cli.contract import add_contract
from sentinel.reference.ledger.operate.cli.dead import add_dead
from sentinel.reference.ledger.operate.cli.edge import add_edge
from sentinel.reference.ledger.operate.cli.fault import add_fault
from sentinel.reference.ledger.operate.cli.gateway import add_gateway
from sentinel.reference.ledger.operate.cli.history import add_history
from sentinel.reference.ledger.operate.cli.load import add_load
from sentinel.reference.ledger.operate.cli.reconcile import add_reconcile
from sentinel.reference.ledger.operate.cli.servers import Commands
from sentinel.reference.ledger.operate.cli.storage import add_storage_commands
from sentinel.reference.ledger.operate.cli.tenants import add_tenant_commands
from sentinel.reference.ledger.operate.cli.tokens import add_token_commands
from sentinel.reference.ledger.operate.cli.up import add_up
from sentinel.reference.ledger.operate.cli.webhooks import add_webhooks
from sentinel.reference.ledger.operate.completion import SHELLS, completion_script

EXIT_WRONG: Final = 1
EXIT_USAGE: Final = 2
EXIT_UNREACHABLE: Final = 3
EXIT_INTERRUPTED: Final = 130


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code."""
    options = build_parser().parse_args(arguments)
    try:
        code: int = options.command(options)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except UsageError as error:
        _complain(error)
        return EXIT_USAGE
    except (UnavailableError, UnreadableError) as error:
        _complain(error)
        return EXIT_UNREACHABLE
    except LedgerError as error:
        _complain(error)
        return EXIT_WRONG
    except ModuleNotFoundError as error:
        if (error.name or "sentinel").split(".")[0] == "sentinel":
            raise
        # The sidecar needs none of it, so that a plain install of both has it not.
        _complain(
            f"needs the package {error.name}, which is not installed: pip install 'sentinel-sidecar[ledger]' brings it"
        )
        return EXIT_WRONG
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _complain(f"{where}{error.strerror or error}")
        return EXIT_UNREACHABLE
    return code


def build_parser() -> argparse.ArgumentParser:
    """The whole grammar."""
    parser = argparse.ArgumentParser(
        prog="sentinel-ledger",
        description="A small real payments ledger, for Sentinel to watch.",
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    add_up(commands)
    add_edge(commands)
    add_poster(commands)
    add_disburse(commands)
    add_analytics(commands)
    add_reconcile(commands)
    add_webhooks(commands)
    add_migrate(commands)
    add_gateway(commands)
    add_contract(commands)
    add_tenant_commands(commands)
    add_dead(commands)
    add_load(commands)
    add_token_commands(commands)
    add_history(commands)
    add_fault(commands)
    add_audit(commands)
    add_storage_commands(commands)
    _add_completion(commands)
    return parser


def _add_completion(commands: Commands) -> None:
    parser = commands.add_parser(
        "completion", help="print a completion script for bash, zsh or fish"
    )
    parser.add_argument("shell", choices=SHELLS, help="the shell that is to complete")
    parser.set_defaults(command=_completion)


def _completion(options: argparse.Namespace) -> int:
    words: dict[str, tuple[str, ...]] = {}
    # Without the extra there is no fault to make, and none to name.
    with contextlib.suppress(ModuleNotFoundError):
        from sentinel.reference.ledger.operate.faults import FAULTS

        words["fault"] = tuple(FAULTS)
    sys.stdout.write(completion_script(build_parser(), options.shell, words=words))
    return 0


def _complain(error: LedgerError | str) -> None:
    sys.stderr.write(f"sentinel-ledger: {error}\n")
