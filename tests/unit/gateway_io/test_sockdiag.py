from __future__ import annotations

import os
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.io.sockdiag import (
    FourTuple,
    SockDiag,
    SocketOwner,
    decode_answer,
    encode_request,
    owner_uid,
    sock_diag_available,
)

V4 = FourTuple("127.0.0.1", 40_000, "127.0.0.1", 4_141)
V6 = FourTuple("::1", 40_000, "::1", 4_141)

# Bytes as linux/inet_diag.h lays them out on little-endian machines.
V4_REQUEST = bytes.fromhex(
    "48000000 1400 0100 07000000 00000000"  # 72 bytes, by family, request, sequence 7
    "02 06 00 00 ffffffff"  # AF_INET, TCP, every state
    "9c40 102d"  # 40000 -> 4141, network order
    "7f000001 00000000 00000000 00000000"
    "7f000001 00000000 00000000 00000000"
    "00000000 ffffffff ffffffff"
)
V6_REQUEST = bytes.fromhex(
    "48000000 1400 0100 07000000 00000000"
    "0a 06 00 00 ffffffff"
    "9c40 102d"
    "00000000 00000000 00000000 00000001"
    "00000000 00000000 00000000 00000001"
    "00000000 ffffffff ffffffff"
)
V4_ANSWER = bytes.fromhex(
    "58000000 1400 0000 07000000 39300000"  # 88 bytes, sequence 7
    "02 01 00 00"  # AF_INET, ESTABLISHED
    "9c40 102d"
    "7f000001 00000000 00000000 00000000"
    "7f000001 00000000 00000000 00000000"
    "00000000 01000000 00000000"
    "00000000 00000000 00000000 11270000 4e610000"  # uid 10001, inode 24910
)
MAPPED_ANSWER = bytes.fromhex(
    "58000000 1400 0000 07000000 39300000"
    "0a 01 00 00"
    "9c40 102d"
    "00000000 00000000 0000ffff 7f000001"
    "00000000 00000000 0000ffff 7f000001"
    "00000000 01000000 00000000"
    "00000000 00000000 00000000 11270000 4e610000"
)
NOT_FOUND = bytes.fromhex("24000000 0200 0000 07000000 39300000 feffffff") + V4_REQUEST[:16]

little_endian = pytest.mark.skipif(
    struct.pack("=H", 1) != b"\1\0", reason="the byte tables are little-endian"
)


@little_endian
@pytest.mark.parametrize(("asked", "expected"), [(V4, V4_REQUEST), (V6, V6_REQUEST)])
def test_a_request_has_the_bytes_that_the_kernel_defines(asked: FourTuple, expected: bytes) -> None:
    assert encode_request(asked, 7) == expected


@little_endian
def test_an_answer_is_read_as_the_kernel_defines_it() -> None:
    assert decode_answer(V4_ANSWER, 7) == SocketOwner(
        connection=V4, state=1, uid=10_001, inode=24_910
    )
    assert owner_uid(decode_answer(V4_ANSWER, 7), V4) == 10_001


@little_endian
def test_a_mapped_client_of_an_ipv4_listener_is_found() -> None:
    assert owner_uid(decode_answer(MAPPED_ANSWER, 7), V4) == 10_001


@little_endian
def test_trailing_bytes_of_attributes_do_not_matter() -> None:
    longer = struct.pack("=I", len(V4_ANSWER) + 8) + V4_ANSWER[4:] + b"\x05\0\x08\0\0\0\0\0"
    assert owner_uid(decode_answer(longer, 7), V4) == 10_001
    assert owner_uid(decode_answer(V4_ANSWER + b"junk", 7), V4) == 10_001


@little_endian
@pytest.mark.parametrize("length", range(len(V4_ANSWER)))
def test_a_cut_answer_is_no_answer(length: int) -> None:
    assert decode_answer(V4_ANSWER[:length], 7) is None


@little_endian
@pytest.mark.parametrize(
    "data",
    [
        NOT_FOUND,
        V4_ANSWER[:4] + b"\x03\0" + V4_ANSWER[6:],  # NLMSG_DONE
        V4_ANSWER[:16] + b"\x01" + V4_ANSWER[17:],  # AF_UNIX
        b"\x10\0\0\0" + V4_ANSWER[4:],  # says it is only a header
        b"\xff\xff\0\0" + V4_ANSWER[4:],  # says it is longer than it is
    ],
)
def test_errors_and_other_messages_are_no_answer(data: bytes) -> None:
    assert decode_answer(data, 7) is None


@little_endian
def test_the_answer_to_another_request_is_no_answer() -> None:
    assert decode_answer(V4_ANSWER, 8) is None


@given(st.binary(max_size=200), st.integers(0, 2**32 - 1))
def test_no_bytes_make_the_decoder_fail(data: bytes, sequence: int) -> None:
    decode_answer(data, sequence)


@pytest.mark.parametrize("state", [0, *range(2, 13)])
def test_only_an_established_socket_has_an_owner(state: int) -> None:
    assert owner_uid(SocketOwner(connection=V4, state=state, uid=1, inode=9), V4) is None


def test_an_orphaned_socket_is_not_roots() -> None:
    assert owner_uid(SocketOwner(connection=V4, state=1, uid=0, inode=0), V4) is None
    assert owner_uid(SocketOwner(connection=V4, state=1, uid=0, inode=9), V4) == 0


@pytest.mark.parametrize(
    "found",
    [
        FourTuple("127.0.0.1", 40_000, "0.0.0.0", 0),
        FourTuple("127.0.0.2", 40_000, "127.0.0.1", 4_141),
        FourTuple("127.0.0.1", 40_001, "127.0.0.1", 4_141),
        FourTuple("127.0.0.1", 40_000, "127.0.0.1", 4_142),
        FourTuple("127.0.0.1", 4_141, "127.0.0.1", 40_000),
        V6,
    ],
)
def test_only_exactly_the_asked_connection_has_an_owner(found: FourTuple) -> None:
    assert owner_uid(SocketOwner(connection=found, state=1, uid=1, inode=9), V4) is None


def test_ends_of_two_families_are_no_connection() -> None:
    with pytest.raises(ValueError, match="one address family"):
        encode_request(FourTuple("127.0.0.1", 1, "::1", 2), 1)


needs_sock_diag = pytest.mark.skipif(
    not sock_diag_available(), reason="this kernel or sandbox has no sock_diag"
)


@needs_sock_diag
@pytest.mark.parametrize(
    ("family", "bind", "connect"),
    [
        (socket.AF_INET, "127.0.0.1", (socket.AF_INET, "127.0.0.1")),
        (socket.AF_INET6, "::1", (socket.AF_INET6, "::1")),
        (socket.AF_INET, "127.0.0.1", (socket.AF_INET6, "::ffff:127.0.0.1")),
    ],
)
def test_our_own_connection_has_our_uid(
    family: socket.AddressFamily, bind: str, connect: tuple[socket.AddressFamily, str]
) -> None:
    diag = SockDiag()
    with socket.socket(family) as listener, socket.socket(connect[0]) as client:
        listener.bind((bind, 0))
        listener.listen()
        client.connect((connect[1], listener.getsockname()[1]))
        served, _ = listener.accept()
        with served:
            theirs, ours = served.getpeername()[:2], served.getsockname()[:2]
            asked = FourTuple(theirs[0], theirs[1], ours[0], ours[1])
            assert [diag.owner_uid(asked) for _ in range(3)] == [os.geteuid()] * 3
            # The listener is what the kernel finds where there is no such connection.
            assert diag.owner_uid(FourTuple(ours[0], ours[1], theirs[0], 1)) is None
            client.close()
            assert diag.owner_uid(asked) is None
    diag.close()


@needs_sock_diag
def test_a_lookup_after_close_is_no_answer() -> None:
    diag = SockDiag()
    diag.close()
    assert diag.owner_uid(V4) is None
    assert "asked=1" in repr(diag)
