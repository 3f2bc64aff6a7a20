"""Goal: what libraries are kept from loading is not missed. Method: a fresh interpreter, and a server of the tests' own authority."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys

import pytest

from sentinel.runtime.lean_imports import lean_imports


def test_the_environment_is_as_it_was_even_when_an_import_fails() -> None:
    before = dict(os.environ)
    with pytest.raises(ImportError), lean_imports():
        importlib.import_module("sentinel.runtime.nowhere")
    assert dict(os.environ) == before


def test_https_is_checked_against_the_systems_authorities_and_plain_http_loads_none() -> None:
    """The library's own context has none in a sidecar; a client that used it could reach nobody."""
    code = (
        "import sentinel.cli.run, ssl\n"
        "from sentinel.runtime.http.client import ClientConfig, client_context\n"
        "usual = ssl.create_default_context().cert_store_stats()\n"
        "made = client_context(ClientConfig(), 'http://a', 'https://b')\n"
        "assert made.cert_store_stats() == usual, made.cert_store_stats()\n"
        "assert made.verify_mode == ssl.CERT_REQUIRED and made.check_hostname\n"
        "assert client_context(ClientConfig(), 'https://c') is made\n"
        "assert client_context(ClientConfig(), 'http://a') is True\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
