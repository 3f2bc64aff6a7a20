"""Rules for the whole run: one BLAS thread, no hidden skips, nothing left running."""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import Any

# numpy reads this once, when it is first imported, and its BLAS threads spin.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# What commands print depends on it, and workers have a width that is nobody's terminal.
os.environ.pop("COLUMNS", None)

import psutil
import pytest
from hypothesis import HealthCheck, settings

from tests.support.skips import forbidden_skips, in_ci

# No test asserts a time, so neither does hypothesis: machines that run tests are shared.
settings.register_profile("sentinel", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("sentinel")

_OF_WORKER = "sentinel_complaints"
_skips: dict[str, str] = {}
_complaints: list[str] = []


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long: a module of minutes that came last would keep one of two workers waiting."""
    items.sort(key=lambda item: "unit" in item.path.parts)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Make what a test logged fit to be sent by a worker: half a surrogate pair is no text to send."""
    report = yield
    report.sections = [
        (name, content.encode("utf-8", "backslashreplace").decode())
        for name, content in report.sections
    ]
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail"):
        _skips[report.nodeid] = _reason(report)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.skipped:
        _skips[report.nodeid] = _reason(report)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run that left a process behind or, with CI=true, skipped what it may not."""
    _complaints.extend(f"left running: {line}" for line in _children())
    if in_ci():
        skipped = (f"skipped with CI=true: {line}" for line in forbidden_skips(_skips))
        _complaints.extend(line for line in skipped if line not in _complaints)
    if hasattr(session.config, "workeroutput"):
        # A worker of a spread run cannot fail it; the process that collects from the workers does.
        session.config.workeroutput[_OF_WORKER] = _complaints
    elif _complaints and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what a worker of a spread run has to complain about; a worker that died has left nothing to read."""
    _complaints.extend(
        line
        for line in getattr(node, "workeroutput", {}).get(_OF_WORKER, ())
        if line not in _complaints
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for complaint in _complaints:
        terminalreporter.write_line(f"ERROR {complaint}", red=True)


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    return report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)


def _children() -> list[str]:
    """Child processes that are still there, also as zombies nobody waited for."""
    lines = []
    for child in psutil.Process().children(recursive=True):
        try:
            command = " ".join(child.cmdline()) or child.name()
        except psutil.Error:
            continue
        # The standard library's own janitor lives as long as the process that multiprocessing was used in.
        if "multiprocessing.resource_tracker" not in command:
            lines.append(f"pid {child.pid} {command}")
    return lines
