"""Which addresses an upstream may have.

Owns: the judgement of one resolved address, and the canonical form of a configured host.
Refuses: resolving and connecting (``dial.py``). Private networks (RFC 1918, fc00::/7) are fine:
that is where companies keep models. What is refused leads back to this machine, to the cloud's
credential services, or to no single machine at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

Address = IPv4Address | IPv6Address

_THIS_NETWORK: Final = IPv4Network("0.0.0.0/8")
# RFC 6052: a NAT64 gateway turns these into the IPv4 address in the last 32 bits.
_NAT64: Final = IPv6Network("64:ff9b::/96")
# RFC 4291 section 2.5.5.1, deprecated, but still an IPv4 address in other clothes.
_IPV4_COMPATIBLE: Final = IPv6Network("::/96")

METADATA_ADDRESSES: Final = frozenset(
    ip_address(text)
    for text in (
        "169.254.169.254",  # AWS, Azure, Google, Oracle and others
        "169.254.170.2",  # AWS ECS task credentials
        "169.254.170.23",  # AWS EKS pod identity
        "fd00:ec2::254",  # AWS over IPv6
        "fd00:ec2::23",  # AWS EKS pod identity over IPv6
        "fd20:ce::254",  # Google over IPv6
        "100.100.100.200",  # Alibaba Cloud
        "168.63.129.16",  # Azure platform endpoint
        "192.0.0.192",  # Oracle Cloud, older images
        "fd00:c1::a9fe:a9fe",  # Oracle Cloud over IPv6
        "fd00:42::42",  # Scaleway over IPv6
    )
)
"""Where clouds hand credentials to whoever asks from the right machine."""


def refusal_of(text: str) -> str | None:
    """Why the resolved address ``text`` may not be dialled, or None if it may.

    ``text`` is what the resolver gave: IPv4 or IPv6, with or without a scope id. IPv4 inside
    IPv6 (mapped, compatible, NAT64, 6to4) is judged as the IPv4 address it reaches.
    """
    try:
        address = ip_address(text)
    except ValueError:
        return "not an IP address"
    for form in _forms(address):
        reason = _judge(form)
        if reason is not None:
            return reason
    return None


def canonical_host(host: str) -> str:
    """``host`` as lists of hosts compare it: lower case, no root dot, literals in one spelling."""
    bare = host.strip("[]") if host.startswith("[") else host
    try:
        return str(ip_address(bare))
    except ValueError:
        return bare.rstrip(".").lower()


def _forms(address: Address) -> Iterator[Address]:
    yield address
    if isinstance(address, IPv4Address):
        return
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    if address.sixtofour is not None:
        yield address.sixtofour
    # Without the scope id: membership of a network compares bare numbers.
    if (bare := IPv6Address(int(address))) in _NAT64 or bare in _IPV4_COMPATIBLE:
        yield IPv4Address(int(address) & 0xFFFF_FFFF)


def _judge(address: Address) -> str | None:
    if address.is_loopback:
        return "a loopback address"
    if address.is_unspecified or (isinstance(address, IPv4Address) and address in _THIS_NETWORK):
        return "an unspecified address"
    bare = address if isinstance(address, IPv4Address) else IPv6Address(int(address))
    if bare in METADATA_ADDRESSES:
        return "a cloud metadata address"
    if address.is_link_local:
        return "a link-local address"
    if address.is_multicast:
        return "a multicast address"
    if isinstance(address, IPv4Address) and address.is_reserved:
        return "a reserved or broadcast address"
    return None
