"""Goal: a request of version 1 is the request of version 2 that means the same, and each is told of in its own words.

Method: bodies in, requests or errors out; the table itself is looked at for what it must not hold.
"""

from __future__ import annotations

from typing import Any

import pytest

from sentinel.reference.ledger.domain import InvalidTransferError, Transfer
from sentinel.reference.ledger.edge.problem import problem_of
from sentinel.reference.ledger.edge.versions import READS, WRITES, answer_in, read_write
from sentinel.reference.ledger.edge.versions.translate import from_v2, to_v2

BY_NAME = {write.name: write for write in WRITES}
ID = "6f9619ff-8b86-d011-b42d-00c04fc964ff"
V1 = {"debit_account": "a", "credit_account": "b", "amount_minor": 5, "currency": "EUR"}
V2 = {"debit_account": "a", "credit_account": "b", "amount": {"minor": 5, "currency": "EUR"}}
PAYEE = {"account": "DE02120300000000202051", "name": "A. Person"}


def read(name: str, version: int, body: object) -> Any:
    return read_write(
        BY_NAME[name], version, tenant="shop", idempotency_key="k", target=ID, body=body
    )


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("transfers", V1, V2),
        ("transfers", {**V1, "expires_in_s": 60}, {**V2, "pending": {"expires_in_s": 60}}),
        # As a gateway writes it that knows no objects.
        (
            "transfers",
            V1,
            {"debit_account": "a", "credit_account": "b", "amount.minor": 5, "amount.currency": "EUR"},
        ),
        ("post", {"amount_minor": 3}, {"amount": {"minor": 3}}),
        ("post", {}, {}),
        ("post", None, None),
        ("void", {}, None),
        ("reverse", None, {}),
        ("batches", {"items": [V1, {**V1, "expires_in_s": 9}]}, {"items": [V2, {**V2, "pending": {"expires_in_s": 9}}]}),
        (
            "disbursements",
            {"debit_account": "a", "amount_minor": 5, "currency": "EUR", "payee": PAYEE},
            {"debit_account": "a", "amount": {"minor": 5, "currency": "EUR"}, "payee": PAYEE},
        ),
    ],
)  # fmt: skip
def test_both_versions_ask_for_the_same(name: str, old: object, new: object) -> None:
    first, second = read(name, 1, old), read(name, 2, new)
    assert first == second
    assert first.fingerprint == second.fingerprint


@pytest.mark.parametrize(
    ("name", "version", "body", "code", "field", "said"),
    [
        ("transfers", 1, {**V1, "amount_minor": 0}, "invalid_field", "amount_minor", "amount_minor must"),
        ("transfers", 2, {**V2, "amount": {"minor": 0, "currency": "EUR"}}, "invalid_field", "amount.minor", "amount.minor must"),
        ("transfers", 2, {**V2, "amount": {"minor": 1}}, "invalid_field", "amount.currency", "amount.currency must"),
        ("transfers", 2, {**V2, "amount": 5}, "invalid_field", "amount", "amount.minor and amount.currency"),
        ("transfers", 2, {**V2, "amount": {"minor": 5, "currency": "EUR", "scale": 2}}, "unknown_field", "amount.scale", "not known"),
        ("transfers", 2, {**V2, "amount.minor": 6}, "invalid_field", "amount.minor", "given twice"),
        # Whoever asks for a reservation and leaves out its time does not get a transfer.
        ("transfers", 2, {**V2, "pending": {}}, "invalid_field", "pending", "pending.expires_in_s"),
        ("transfers", 2, {**V2, "pending": None}, "invalid_field", "pending", "pending.expires_in_s"),
        ("transfers", 2, {**V2, "pending": {"expires_in_s": -1}}, "invalid_field", "pending.expires_in_s", "pending.expires_in_s must"),
        ("transfers", 2, V1, "unknown_field", "amount_minor", "not known"),
        ("transfers", 1, V2, "unknown_field", "amount", "not known"),
        ("transfers", 1, {**V1, "amount.minor": 5}, "unknown_field", "amount.minor", "not known"),
        ("transfers", 2, {**V2, "credit_account": "a"}, "same_account", "credit_account", "different"),
        ("transfers", 2, [V2], "invalid_body", "", "JSON object"),
        ("post", 2, {"amount": {"minor": True}}, "invalid_field", "amount.minor", "amount.minor must"),
        ("void", 2, {"amount": {"minor": 1}}, "unknown_field", "amount", "not known"),
        ("batches", 2, {"items": [V2, {**V2, "amount": {"minor": -1, "currency": "EUR"}}]}, "invalid_field", "items[1].amount.minor", "amount.minor must"),
        ("batches", 1, {"items": [V1, {**V1, "amount_minor": -1}]}, "invalid_field", "items[1].amount_minor", "amount_minor must"),
        ("batches", 2, {"items": [V2, {**V2, "x": 1}]}, "unknown_field", "items[1].x", "not known"),
        ("batches", 2, {"items": "all"}, "invalid_field", "items", "items must"),
        ("batches", 2, {"items": [V2], "amount_minor": 1}, "unknown_field", "amount_minor", "not known"),
        ("batches", 2, {"items": [7]}, "invalid_body", "items[0]", "JSON object"),
        ("disbursements", 2, {"debit_account": "a", "amount": {"minor": 5, "currency": "EUR"}}, "invalid_field", "payee", "payee must"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_by_the_names_of_its_version(
    name: str, version: int, body: object, code: str, field: str, said: str
) -> None:
    with pytest.raises(InvalidTransferError) as caught:
        read(name, version, body)
    assert (caught.value.code, caught.value.field) == (code, field)
    assert said in caught.value.message


@pytest.mark.parametrize(
    ("version", "names"),
    [
        (1, ["debit_account", "amount_minor", "currency", "expires_in_s"]),
        (2, ["debit_account", "amount.minor", "amount.currency", "pending.expires_in_s"]),
    ],
)
def test_all_that_is_wrong_is_told_at_once(version: int, names: list[str]) -> None:
    wrong: dict[int, Any] = {
        1: {"debit_account": "", "credit_account": "b", "amount_minor": 0, "currency": "euro", "expires_in_s": 0},
        2: {"debit_account": "", "credit_account": "b", "amount": {"minor": 0, "currency": "euro"}, "pending": {"expires_in_s": 0}},
    }  # fmt: skip
    with pytest.raises(InvalidTransferError) as caught:
        read("transfers", version, wrong[version])
    found = caught.value
    assert [found.field, *(other.field for other in found.others)] == names
    good: dict[int, Any] = {1: V1, 2: V2}
    with pytest.raises(InvalidTransferError) as caught:
        read("batches", version, {"items": [good[version], wrong[version]]})
    told = [caught.value, *caught.value.others]
    assert [one.field for one in told] == [f"items[1].{name}" for name in names]
    problem = problem_of(caught.value)
    assert [one.field for one in problem.errors] == [one.field for one in told]


def test_an_answer_has_its_amounts_where_the_requests_have_them() -> None:
    form = next(read.answer for read in READS if read.name == "transaction")
    state = {"kind": "transfer", "amount_minor": 5, "currency": "EUR", "state": "posted"}
    assert answer_in(1, form, state) == state
    assert answer_in(2, form, state) == {
        "kind": "transfer",
        "amount": {"minor": 5, "currency": "EUR"},
        "state": "posted",
    }
    # A step whose target was not known has none.
    nothing = {"kind": "post", "amount_minor": None, "currency": None}
    assert answer_in(2, form, nothing) == {"kind": "post"}


@pytest.mark.parametrize("write", WRITES, ids=lambda write: write.name)
def test_no_two_fields_have_one_place(write: Any) -> None:
    places = list(write.form.fields.values())
    assert len(set(places)) == len(places)
    # An object and a field of its own name could not both be read.
    assert not set(write.form.objects) & set(places)
    full = {name: f"value of {name}" for name in write.form.fields}
    body = {write.form.each: [full]} if write.form.each else full
    assert from_v2(write.form, to_v2(write.form, body)) == body


def test_every_transfer_of_version_one_is_one_of_version_two() -> None:
    assert isinstance(read("transfers", 1, V1), Transfer)
    assert to_v2(BY_NAME["transfers"].form, V1) == V2
