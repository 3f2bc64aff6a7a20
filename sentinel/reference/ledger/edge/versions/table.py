"""Which requests there are, and how one of version 1 becomes one of version 2: data, and nothing else.

A schema that changes does not break a client: what it sends is moved to where the newer form has it. The
same table makes the configuration of the gateway (`deploy/kong`), so that the two cannot differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """The fields of a body: by their name in version 1, where version 2 has them.

    Attributes:
        fields: names in version 1 and their places in version 2, in which a dot leads into an object.
        each: the list whose items have these fields; the body itself when empty.
    """

    fields: Mapping[str, str]
    each: str = ""

    @property
    def moves(self) -> dict[str, str]:
        """The fields whose place differs."""
        return {old: new for old, new in self.fields.items() if old != new}

    @property
    def objects(self) -> dict[str, list[str]]:
        """The objects of version 2, each with the names in it."""
        found: dict[str, list[str]] = {}
        for place in self.fields.values():
            name, dot, inner = place.partition(".")
            if dot:
                found.setdefault(name, []).append(inner)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One request that asks for something, as `POST` at either version's address."""

    name: str
    v1: str
    v2: str
    form: Form


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """One request that looks something up, and where its answer's fields are."""

    name: str
    v1: str
    v2: str
    answer: Form = field(default_factory=lambda: Form(fields={}))


def _fields(**fields: str) -> Mapping[str, str]:
    return MappingProxyType(fields)


_MONEY: Final = {"amount_minor": "amount.minor", "currency": "amount.currency"}
_ACCOUNTS: Final = {"debit_account": "debit_account", "credit_account": "credit_account"}

TRANSFER: Final = _fields(**_ACCOUNTS, **_MONEY, expires_in_s="pending.expires_in_s")

WRITES: Final = (
    Write(name="transfers", v1="/v1/transfers", v2="/v2/transfers", form=Form(fields=TRANSFER)),
    Write(
        name="post",
        v1="/v1/transactions/{id}/post",
        v2="/v2/transfers/{id}/post",
        form=Form(fields=_fields(amount_minor="amount.minor")),
    ),
    Write(
        name="void",
        v1="/v1/transactions/{id}/void",
        v2="/v2/transfers/{id}/void",
        form=Form(fields=_fields()),
    ),
    Write(
        name="reverse",
        v1="/v1/transactions/{id}/reverse",
        v2="/v2/transfers/{id}/reverse",
        form=Form(fields=_fields()),
    ),
    Write(
        name="batches",
        v1="/v1/batches",
        v2="/v2/batches",
        form=Form(fields=TRANSFER, each="items"),
    ),
    Write(
        name="disbursements",
        v1="/v1/disbursements",
        v2="/v2/disbursements",
        form=Form(fields=_fields(debit_account="debit_account", **_MONEY, payee="payee")),
    ),
)
READS: Final = (
    Read(
        name="transaction",
        v1="/v1/transactions/{id}",
        v2="/v2/transactions/{id}",
        answer=Form(fields=_fields(**_MONEY)),
    ),
    Read(name="batch", v1="/v1/batches/{id}", v2="/v2/batches/{id}"),
    Read(name="balance", v1="/v1/accounts/{id}/balance", v2="/v2/accounts/{id}/balance"),
)
