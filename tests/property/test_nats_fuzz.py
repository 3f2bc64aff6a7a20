"""Goal: no answer of a server, however broken, makes anything but an input error, and no poll of such answers fails.

Method: Hypothesis writes JSON of its own, and changes single places of recorded answers.
"""

from __future__ import annotations

import copy
import math
from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.core.normalise.nats import (
    NatsLimits,
    NatsSamples,
    ServerAnswer,
    read_advisory,
    read_connz,
    read_healthz,
    read_jsz,
    read_varz,
)
from sentinel.errors import InputError
from tests.support.nats_answers import NOW_NS, RECORDED, told

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4)
    ),
    max_leaves=20,
)
READERS = (read_varz, read_jsz, read_connz, read_healthz, read_advisory)
ANSWERS = {
    name: orjson.loads((RECORDED / f"{name}.json").read_bytes())
    for name in (
        "cluster_n2_2_15_varz",
        "cluster_n2_2_15_jsz",
        "single_2_9_varz",
        "single_2_9_jsz",
    )
}


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every part of a value."""
    found = [at] if at else []
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, one in inner:
        found += places(one, (*at, key))
    return found


PLACES = {name: places(value) for name, value in ANSWERS.items()}


@given(JSON)
def test_json_of_any_shape_is_read_or_refused(value: Any) -> None:
    body = orjson.dumps(value)
    for read in READERS:
        if not isinstance(value, dict):
            with pytest.raises(InputError):
                read(body)
            continue
        with suppress(InputError):
            assert read(body) is not None


@given(st.binary(max_size=200))
def test_bytes_of_any_kind_are_refused(body: bytes) -> None:
    for read in READERS:
        with pytest.raises(InputError):
            read(body)


@pytest.mark.parametrize("version", ["cluster_n2_2_15", "single_2_9"])
@settings(max_examples=60)
@given(data=st.data())
def test_a_poll_of_changed_answers_makes_finite_samples(version: str, data: st.DataObject) -> None:
    raw = {}
    for page in ("varz", "jsz"):
        name = f"{version}_{page}"
        raw[page] = copy.deepcopy(ANSWERS[name])
        for _ in range(data.draw(st.integers(0, 4))):
            *path, last = data.draw(st.sampled_from(PLACES[name]))
            holder = raw[page]
            try:
                for key in path:
                    holder = holder[key]
                holder[last] = data.draw(JSON)
            except (KeyError, IndexError, TypeError):
                continue
    samples = NatsSamples("nats", limits=NatsLimits())
    for number in range(2):
        try:
            server = read_varz(orjson.dumps(raw["varz"]))
            page_read = read_jsz(orjson.dumps(raw["jsz"]))
        except InputError:
            return
        found = samples.reduce(
            [
                ServerAnswer(
                    place="a:1",
                    server=server,
                    streams=page_read.streams,
                    streams_ns=page_read.now_ns,
                )
            ],
            source="main",
            unanswered=(),
            now_ns=NOW_NS + number * 10**10,
        )
        for point in told(found.batch):
            assert math.isfinite(point.value)
            assert point.value >= 0
            assert point.start_ns <= point.time_ns
            assert len(point.scope.route) <= 400
