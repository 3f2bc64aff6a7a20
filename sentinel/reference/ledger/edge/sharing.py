"""A port that several edges listen on, and how one of them leaves it without refusing anybody.

With SO_REUSEPORT the kernel gives each new connection to one of the sockets. A socket that is closed resets what waits for it to be
accepted, and there is no call by which it could ask for no more. So it is given a filter that drops the first packet of a
connection: whoever sent it hears nothing, sends it again after a second, and is then given to another edge. What was begun before
is finished and accepted meanwhile; then nothing waits, and the socket can be closed.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Iterable
from typing import Final

from sentinel.reference.ledger.domain import UnavailableError

# <linux/filter.h>: code, where to go on if it holds and if not, operand. A filter of a TCP socket sees the TCP header first.
_INSTRUCTION: Final = struct.Struct("HBBI")
_LOAD_BYTE, _IF_SET, _RETURN = 0x30, 0x45, 0x06
_FLAGS_AT, _SYN = 13, 0x02
_NO_SYN: Final = b"".join(
    _INSTRUCTION.pack(*one)
    for one in (
        (_LOAD_BYTE, 0, 0, _FLAGS_AT),
        (_IF_SET, 0, 1, _SYN),
        (_RETURN, 0, 0, 0),
        (_RETURN, 0, 0, 0xFFFFFFFF),
    )
)
_SO_ATTACH_FILTER: Final = 26


def listen_beside(host: str, port: int, *, backlog: int) -> socket.socket:
    """Return a socket that listens on a port beside those of this user's other processes.

    Raises:
        UnavailableError: the address is not to be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=backlog, reuse_port=True)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        message = f"cannot listen on {host}:{port}: {reason}"
        raise UnavailableError(message) from error


def take_no_more(sockets: Iterable[socket.socket]) -> bool:
    """Have listening sockets be given no new connection; False where the kernel has no such filter."""
    code = ctypes.create_string_buffer(_NO_SYN, len(_NO_SYN))
    # struct sock_fprog: how many instructions, and where they are; both are copied by the kernel.
    program = struct.pack("HP", len(_NO_SYN) // _INSTRUCTION.size, ctypes.addressof(code))
    try:
        for one in sockets:
            one.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
    except OSError:
        return False
    return True
