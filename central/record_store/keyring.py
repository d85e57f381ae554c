"""Which keys may have signed what: certificates, and the keys that a start declared.

Owns: the key of a kid for one instance and whether a certificate covers it. Refuses: storage
(``certificates.py``) and refusing for a time: a late or skewed record is kept and graded.
"""

from __future__ import annotations

import msgspec

from gateway import record, seal
from gateway.documents import Envelope, KeyCert
from gateway.errors import DocumentInvalid
from gateway.timestamp import time_micros


class Certified(msgspec.Struct, frozen=True):
    """A verified certificate with the envelope it came in."""

    certificate: KeyCert
    envelope: Envelope


class Keyring:
    """The keys of one instance: those that the store knew, and those its batch brings.

    ``issuer_keys``: keyid → public key of those whose certificates count.
    """

    def __init__(self, instance: str, issuer_keys: dict[str, bytes]) -> None:
        self.instance = instance
        self._issuer_keys = issuer_keys
        self._certificates: dict[str, list[KeyCert]] = {}
        self._public: dict[str, bytes] = {}
        self.brought: list[Certified] = []
        """Certificates found inside records of this batch; the store keeps those it lacks."""
        self.declared: dict[str, bytes] = {}
        """kid → public key of starts in this batch."""

    def know(self, certificate: KeyCert) -> None:
        """Add a certificate that was verified before; those of other instances are not ours."""
        if certificate.instance != self.instance:
            return
        self._certificates.setdefault(certificate.kid, []).append(certificate)
        self._public[certificate.kid] = seal.public_key(certificate.pub)

    def know_declared(self, kid: str, public: bytes) -> None:
        """Add a key that a kept start declared for itself; it proves the chain, not who."""
        self._public.setdefault(kid, public)

    def public(self, kid: str) -> bytes | None:
        return self._public.get(kid)

    def entitled(self, leading: record.Leading) -> bool:
        """Whether what is known lets ``chain.kid`` sign for this instance, tenant and region.

        A key that only its own start declares counts as long as no key of the instance is
        certified: else whoever ships for the dead could put a chain of their own in its place.
        """
        if not self._certificates:
            return True
        certificates = self._certificates.get(leading.chain.kid, [])
        return any(seal.entitled(certificate, leading) for certificate in certificates)

    def may_write(self, kid: str, body: record.Record) -> bool:
        """Whether what ``kid`` is certified as writes such a record; also where it has none."""
        known = self._certificates.get(kid)
        return not known or any(seal.may_write(one.topology, body) for one in known)

    def covers(self, kid: str, time_us: int) -> bool:
        """Whether a certificate of ``kid`` is valid at ``time_us``; also where it has none."""
        windows = self._certificates.get(kid)
        return not windows or any(
            time_micros(one.not_before) <= time_us <= time_micros(one.not_after) for one in windows
        )

    def bring(self, envelope: Envelope | None) -> None:
        """Learn from a certificate inside a record; one that does not verify is ignored here:
        the record stands on its own signature, and the certificate proves nothing."""
        if envelope is None:
            return
        try:
            certificate = seal.open_certificate(envelope, self._issuer_keys)
        except DocumentInvalid:
            return
        self.know(certificate)
        self.brought.append(Certified(certificate, envelope))

    def declare(self, kid: str, public: bytes) -> None:
        """Learn the key of a start whose signature it made: it proves the chain, not who."""
        self._public.setdefault(kid, public)
        self.declared[kid] = public
