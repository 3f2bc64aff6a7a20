"""Severity words and numbers of common loggers, as OTLP's severity numbers.

| written as | understood as |
|---|---|
| a word | its row below, in any case; `E` of klog, `DEBUG5` and `LOG` of PostgreSQL, `emerg` of syslog among them |
| 1-24 under a key of OpenTelemetry | itself |
| 0-7 | syslog: 0 emergency, 3 error, 7 debug |
| 10-60 | Python's `levelno` under that key (10 debug, 50 critical), else pino's and bunyan's (10 trace, 50 error, 60 fatal) |
| 10000-40000 | logback's `level_value` |
| 100-800 | Google's `LogSeverity`: 200 info, 500 error, 800 emergency |
"""

from __future__ import annotations

TRACE, DEBUG, INFO, NOTICE, WARN, ERROR = 1, 5, 9, 10, 13, 17
UNSET = 0

_WORDS = {
    "TRACE": TRACE, "FINEST": TRACE, "FINER": TRACE, "VERBOSE": TRACE, "SILLY": TRACE,
    "DEBUG": DEBUG, "DBG": DEBUG, "FINE": DEBUG, "D": DEBUG, "CONFIG": DEBUG,
    "DEBUG1": DEBUG, "DEBUG2": DEBUG, "DEBUG3": DEBUG, "DEBUG4": DEBUG, "DEBUG5": DEBUG,
    "INFO": INFO, "INFORMATION": INFO, "INFORMATIONAL": INFO, "I": INFO, "LOG": INFO, "DEFAULT": INFO,
    "STATEMENT": INFO, "DETAIL": INFO, "HINT": INFO, "CONTEXT": INFO, "QUERY": INFO,
    "NOTICE": NOTICE, "SUCCESS": NOTICE,
    "WARN": WARN, "WARNING": WARN, "W": WARN,
    "ERROR": ERROR, "ERR": ERROR, "E": ERROR, "SEVERE": ERROR, "FAILURE": ERROR, "DPANIC": 21,
    "CRITICAL": 21, "CRIT": 21, "ALERT": 21, "EMERG": 24, "EMERGENCY": 24,
    "FATAL": 21, "F": 21, "PANIC": 24,
}  # fmt: skip
_SYSLOG = (24, 22, 21, ERROR, WARN, NOTICE, INFO, DEBUG)
_PYTHON = {10: DEBUG, 20: INFO, 30: WARN, 40: ERROR, 50: 21}
_PINO = {10: TRACE, 20: DEBUG, 30: INFO, 40: WARN, 50: ERROR, 60: 21}
_LOGBACK = {5000: TRACE, 10000: DEBUG, 20000: INFO, 30000: WARN, 40000: ERROR, 50000: 21}
_GOOGLE = {100: DEBUG, 200: INFO, 300: NOTICE, 400: WARN, 500: ERROR, 600: 21, 700: 22, 800: 24}
_OTLP_MAX = 24
_WORD_CHARS_MAX = 32
_OTLP_KEYS = frozenset({"severity_number", "severitynumber", "severity.number"})


def severity_of_word(word: str) -> int:
    """The number of a word, 0 when it is none.

    >>> [severity_of_word(word) for word in ("info", "WARNING", "E", "PANIC", "blue")]
    [9, 13, 17, 24, 0]
    """
    if len(word) > _WORD_CHARS_MAX:
        return UNSET
    return _WORDS.get(word.strip().strip("[]<>:").upper(), UNSET)


def severity_of_number(number: int, key: str) -> int:
    """The number of a number, by the key it stands under; 0 when it is none.

    >>> severity_of_number(50, "level"), severity_of_number(50, "levelno"), severity_of_number(3, "level")
    (17, 21, 17)
    """
    key = key.lower()
    if key in _OTLP_KEYS:
        return number if 0 < number <= _OTLP_MAX else UNSET
    if 0 <= number < len(_SYSLOG):
        return _SYSLOG[number]
    if key == "levelno":
        return _rounded_down(number, _PYTHON)
    if 10 <= number < 100:
        return _rounded_down(number, _PINO)
    if 100 <= number <= 800:
        return _rounded_down(number, _GOOGLE)
    return _rounded_down(number, _LOGBACK) if number >= 5000 else UNSET


def severity_of(value: object, key: str) -> int:
    """The number of a value of JSON: a word, a number, or a number as text."""
    if type(value) is str:
        found = severity_of_word(value)
        if not found and value.isascii() and value.isdigit() and len(value) <= 5:
            found = severity_of_number(int(value), key)
        return found
    if type(value) is int:
        return severity_of_number(value, key)
    return UNSET


def _rounded_down(number: int, table: dict[int, int]) -> int:
    """Levels between the named ones, such as Python's 25, count as the one below."""
    if number in table:
        return table[number]
    below = [each for each in table if each <= number]
    return table[max(below)] if below and number <= 2 * max(table) else UNSET
