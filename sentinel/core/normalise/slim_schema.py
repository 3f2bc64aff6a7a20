"""Protobuf messages described at import time, with the fields that are read and no others.

A decoder skips what is not declared at full speed, and a message's field numbers never change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message

_Field = descriptor_pb2.FieldDescriptorProto

Messages: TypeAlias = Mapping[str, tuple[tuple[str, int, str] | tuple[str, int, str, str], ...]]
"""By the message's name: (name, number, type), (name, number, "message", message) or (name, number, type, oneof).

A leading `*` on the type means repeated. A oneof keeps "given as 0" apart from "not given"; one whose name begins with an
underscore is proto3's `optional`.
"""


def message_classes(package: str, messages: Messages) -> Callable[[str], Any]:
    """The classes of these messages, by name; `package` is unique in the process."""
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(_file(package, messages).SerializeToString())

    def class_of(name: str) -> Any:  # noqa: ANN401, RUF100 - the classes are made at run time
        descriptor = pool.FindMessageTypeByName(f"{package}.{name}")
        made: type[Message] = message_factory.GetMessageClass(descriptor)
        return made

    return class_of


def _file(package: str, messages: Messages) -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{package.replace('.', '/')}.proto", package=package, syntax="proto3"
    )
    for message_name, fields in messages.items():
        message = file.message_type.add(name=message_name)
        for name, number, written, *rest in fields:
            kind = written.removeprefix("*")
            field = message.field.add(name=name, number=number)
            field.type = getattr(_Field, f"TYPE_{kind.upper()}")
            field.label = (
                _Field.LABEL_REPEATED if written.startswith("*") else _Field.LABEL_OPTIONAL
            )
            if kind == "message":
                field.type_name = f".{package}.{rest[0]}"
            elif rest:
                _join_oneof(message, field, rest[0])
    return file


def _join_oneof(
    message: descriptor_pb2.DescriptorProto,
    field: descriptor_pb2.FieldDescriptorProto,
    name: str,
) -> None:
    names = [oneof.name for oneof in message.oneof_decl]
    if name not in names:
        message.oneof_decl.add(name=name)
        names.append(name)
    field.oneof_index = names.index(name)
    field.proto3_optional = name.startswith("_")
