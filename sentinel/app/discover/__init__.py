"""`sentinel discover`: looks at what stands there already, and writes the configuration that watches it."""

from sentinel.app.discover.findings import Entry, Finding, Nested, Outcome
from sentinel.app.discover.look import USUAL, Places, look_round, of_interest
from sentinel.app.discover.postgres import Login, login_of
from sentinel.app.discover.render import as_config, as_yaml, finding_lines

__all__ = [
    "USUAL",
    "Entry",
    "Finding",
    "Login",
    "Nested",
    "Outcome",
    "Places",
    "as_config",
    "as_yaml",
    "finding_lines",
    "login_of",
    "look_round",
    "of_interest",
]
