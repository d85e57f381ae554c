from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.io.address import METADATA_ADDRESSES, canonical_host, refusal_of

LOOPBACK, LINK_LOCAL = "a loopback address", "a link-local address"
UNSPECIFIED, MULTICAST = "an unspecified address", "a multicast address"
METADATA, RESERVED = "a cloud metadata address", "a reserved or broadcast address"

REFUSED = [
    ("127.0.0.1", LOOPBACK),
    ("127.255.255.254", LOOPBACK),
    ("::1", LOOPBACK),
    ("::ffff:127.0.0.1", LOOPBACK),
    ("::ffff:7f00:1", LOOPBACK),
    ("::127.0.0.1", LOOPBACK),
    ("64:ff9b::127.0.0.1", LOOPBACK),
    ("2002:7f00:1::", LOOPBACK),
    ("0.0.0.0", UNSPECIFIED),
    ("0.1.2.3", UNSPECIFIED),
    ("::", UNSPECIFIED),
    ("::ffff:0.0.0.0", UNSPECIFIED),
    ("169.254.1.1", LINK_LOCAL),
    ("::ffff:169.254.1.1", LINK_LOCAL),
    ("64:ff9b::a9fe:101", LINK_LOCAL),
    ("fe80::1", LINK_LOCAL),
    ("fe80::1%eth0", LINK_LOCAL),
    ("febf::1", LINK_LOCAL),
    ("169.254.169.254", METADATA),
    ("::ffff:169.254.169.254", METADATA),
    ("::ffff:a9fe:a9fe", METADATA),
    ("::169.254.169.254", METADATA),
    ("64:ff9b::169.254.169.254", METADATA),
    ("2002:a9fe:a9fe::1", METADATA),
    ("169.254.170.2", METADATA),
    ("169.254.170.23", METADATA),
    ("fd00:ec2::254", METADATA),
    ("fd00:ec2::254%eth0", METADATA),
    ("fd00:ec2::23", METADATA),
    ("fd20:ce::254", METADATA),
    ("100.100.100.200", METADATA),
    ("::ffff:100.100.100.200", METADATA),
    ("168.63.129.16", METADATA),
    ("192.0.0.192", METADATA),
    ("fd00:c1::a9fe:a9fe", METADATA),
    ("fd00:42::42", METADATA),
    ("224.0.0.1", MULTICAST),
    ("239.255.255.255", MULTICAST),
    ("ff02::1", MULTICAST),
    ("::ffff:224.0.0.1", MULTICAST),
    ("240.0.0.1", RESERVED),
    ("255.255.255.255", RESERVED),
    ("not an address", "not an IP address"),
    ("", "not an IP address"),
]


@pytest.mark.parametrize(("text", "reason"), REFUSED)
def test_addresses_that_lead_back_or_to_credentials_are_refused(text: str, reason: str) -> None:
    assert refusal_of(text) == reason


@pytest.mark.parametrize(
    "text",
    [
        "1.1.1.1",
        "10.0.0.5",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "168.63.129.17",
        "2606:4700::1111",
        "fd12:3456::1",
        "::ffff:10.0.0.5",
        "64:ff9b::101:101",
        "2002:101:101::1",
    ],
)
def test_public_and_private_addresses_may_be_dialled(text: str) -> None:
    assert refusal_of(text) is None


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_judged_the_same_inside_ipv6(address: object) -> None:
    plain = refusal_of(str(address))
    assert refusal_of(f"::ffff:{address}") == plain
    assert (refusal_of(f"64:ff9b::{address}") is None) == (plain is None)


def test_every_metadata_address_is_refused() -> None:
    assert {refusal_of(str(address)) for address in METADATA_ADDRESSES} == {METADATA}


@pytest.mark.parametrize(
    ("host", "canonical"),
    [
        ("Model.Example.COM.", "model.example.com"),
        ("localhost", "localhost"),
        ("[::1]", "::1"),
        ("0:0:0:0:0:0:0:1", "::1"),
        ("127.0.0.1", "127.0.0.1"),
    ],
)
def test_hosts_compare_in_one_spelling(host: str, canonical: str) -> None:
    assert canonical_host(host) == canonical
