"""Signed tokens (JWT, RFC 7519, in JWS compact form, RFC 7515): the gate, the keys, the signature.

The gate reads a token as strictly as it can be read before any key is touched: a header may hold
``alg``, ``kid``, ``typ`` and ``cty`` and nothing else, so that no ``jku``, ``jwk``, ``x5c``,
``crit``, ``b64`` or ``zip`` is ever interpreted, and no JSON name may stand twice.

Owns: parsing, key sets (RFC 7517), the choice of key by exact ``kid`` inside one issuer, the fit
of key and algorithm, signatures. Refuses: trusting anything a token says about itself, fetching
keys, and judging claims (``identity.py`` does). The only importer of joserfc.

Sources: RFC 8725 (JWT best current practices) sections 3.1-3.11, RFC 9864 (``Ed25519``).
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey, import_key
from joserfc.jws import JWSRegistry

from gateway import limits
from gateway.call import Json
from gateway.errors import UNREADABLE, ConfigInvalid, IdentityRejected

HEADER_NAMES: Final = frozenset({"alg", "kid", "typ", "cty"})
KID_CHARACTERS_MAX: Final = 256
RSA_BITS_MIN: Final = 2_048
"""RFC 7518 section 3.3."""
JWKS_KEYS_MAX: Final = 64
"""Identity providers publish two to ten; a bound keeps a wrong file from costing memory."""

_SIGNING: Final = frozenset({"sig"})
_OBJECT_IN_BASE64: Final = "eyJ"
"""``{"``, with which nearly every header begins: saves a decoding per call."""
_COMPACT: Final = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]*)")
_VERIFIERS: Final = {
    "ES256": JWSRegistry.algorithms["ES256"],
    "ES384": JWSRegistry.algorithms["ES384"],
    "RS256": JWSRegistry.algorithms["RS256"],
    "PS256": JWSRegistry.algorithms["PS256"],
    "Ed25519": JWSRegistry.algorithms["Ed25519"],
    # The older name of the same algorithm; Ed448 keys, which it also meant, do not fit ours.
    "EdDSA": JWSRegistry.algorithms["Ed25519"],
}

AsymmetricKey = ECKey | OKPKey | RSAKey
Claims = dict[str, Json]


class Token(msgspec.Struct, frozen=True):
    """A token that passed the gate. Nothing in it is verified."""

    algorithm: str
    kid: str
    typ: str | None
    claims: Claims
    signing_input: bytes
    signature: bytes


class Keys:
    """The keys of one issuer, by ``kid``."""

    __slots__ = ("_keys",)

    def __init__(self, keys: Mapping[str, AsymmetricKey]) -> None:
        self._keys = dict(keys)

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, kid: str) -> bool:
        return kid in self._keys

    def verify(self, token: Token) -> None:
        """Check the signature with the key that ``kid`` names.

        The caller has already held ``token.algorithm`` against the issuer's list. Raises
        IdentityRejected: ``token_key_unknown``, ``token_alg_not_allowed`` where the key is of
        another type or curve than the algorithm, ``token_signature_invalid``.
        """
        verifier = _VERIFIERS.get(token.algorithm)
        if verifier is None:
            raise IdentityRejected("token_alg_not_allowed", "no signature algorithm of ours")
        key = self._keys.get(token.kid)
        if key is None:
            raise IdentityRejected("token_key_unknown", "the issuer has no key with this kid")
        try:
            verifier.check_key(key)
        except JoseError:
            raise IdentityRejected(
                "token_alg_not_allowed", "the token's algorithm does not fit its key"
            ) from None
        try:
            valid = verifier.verify(token.signing_input, token.signature, key)
        except (JoseError, ValueError):
            # Signature encodings that the library refuses to build, r = s = 0 among them.
            valid = False
        if not valid:
            raise IdentityRejected("token_signature_invalid", "the signature does not verify")


def looks_like_token(value: str) -> bool:
    """Whether ``value`` has the form of a JWS: three parts, the first of them a JSON object.

    Tells tokens from the API keys that SDKs put in the same place; some keys have two dots.
    """
    if value.count(".") != 2:
        return False
    if value.startswith(_OBJECT_IN_BASE64):
        return True
    first = value.partition(".")[0]
    try:
        return _unbase64(first).lstrip().startswith(b"{")
    except ValueError:
        return False


def read_token(text: str) -> Token:
    """Parse ``text`` without trusting it. Raises IdentityRejected ``token_malformed``.

    ``alg: none`` and its like pass here and are refused by the issuer's list of algorithms.
    """
    if len(text) > limits.TOKEN_BYTES_MAX:
        raise _malformed(f"longer than {limits.TOKEN_BYTES_MAX} bytes")
    parts = _COMPACT.fullmatch(text)
    if parts is None:
        raise _malformed("not three base64url parts")
    header_part, payload_part, signature_part = parts.groups()
    header = _read_object(header_part, "header")
    unknown = header.keys() - HEADER_NAMES
    if unknown:
        raise _malformed("the header holds a parameter other than alg, kid, typ and cty")
    algorithm, kid, typ = header.get("alg"), header.get("kid"), header.get("typ")
    if not isinstance(algorithm, str) or not isinstance(typ, str | None):
        raise _malformed("alg or typ in the header is not a string")
    if not isinstance(kid, str) or not 0 < len(kid) <= KID_CHARACTERS_MAX:
        raise IdentityRejected("token_key_unknown", "the header has no usable kid")
    try:
        signature = _unbase64(signature_part)
    except ValueError:
        raise _malformed("the signature is not base64url") from None
    return Token(
        algorithm=algorithm,
        kid=kid,
        typ=typ,
        claims=_read_object(payload_part, "payload"),
        signing_input=text[: parts.end(2)].encode("ascii"),
        signature=signature,
    )


def read_keys(
    jwks: bytes, algorithms: Sequence[str], where: str, uses: frozenset[str] = _SIGNING
) -> Keys:
    """The keys of a JWK set that fit ``algorithms``; others (encryption keys …) are passed over.

    ``where`` names the file in messages; ``uses``: the values of ``use`` that are for signatures
    here, beside none. Raises ConfigInvalid if it is not a JWK set, holds a
    private or symmetric key or one kid twice, or has no usable key: a set that a failing server
    emptied must not replace a good one.
    """
    try:
        document = _strict_json(jwks)
    except ValueError as error:
        raise ConfigInvalid(f"{where}: not valid JSON ({error}); expected a JWK set") from None
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list) or len(entries) > JWKS_KEYS_MAX:
        raise ConfigInvalid(
            f'{where}: expected {{"keys": [...]}} with at most {JWKS_KEYS_MAX} keys (RFC 7517)'
        )
    keys: dict[str, AsymmetricKey] = {}
    passed_over: list[str] = []
    for index, entry in enumerate(entries):
        try:
            kid, key = _read_key(entry, algorithms, uses, f"{where}: keys[{index}]")
        except _KeyPassedOver as reason:
            passed_over.append(f"keys[{index}]: {reason}")
            continue
        if kid in keys:
            raise ConfigInvalid(f"{where}: keys[{index}]: kid {kid!r} stands twice")
        keys[kid] = key
    if not keys:
        reasons = "; ".join(passed_over) or "the set is empty"
        raise ConfigInvalid(f"{where}: no key fits {', '.join(algorithms)} ({reasons})")
    return Keys(keys)


class _KeyPassedOver(Exception):
    """A key that is not for us, with the reason."""


def _read_key(
    entry: Json, algorithms: Sequence[str], uses: frozenset[str], where: str
) -> tuple[str, AsymmetricKey]:
    if not isinstance(entry, dict):
        raise ConfigInvalid(f"{where}: a key must be an object")
    if entry.get("kty") == "oct" or "d" in entry or "k" in entry:
        raise ConfigInvalid(
            f"{where}: holds secret key material; publish only the public parts and replace the key"
        )
    kid, use, operations = entry.get("kid"), entry.get("use"), entry.get("key_ops")
    if not isinstance(kid, str) or not 0 < len(kid) <= KID_CHARACTERS_MAX:
        raise _KeyPassedOver("no usable kid")
    if not (use is None or (isinstance(use, str) and use in uses)) or not _may_verify(operations):
        raise _KeyPassedOver("not for verifying signatures")
    material = {
        name: value
        for name, value in entry.items()
        if name in ("kty", "crv", "x", "y", "n", "e") and isinstance(value, str)
    }
    try:
        if "n" in material and _bits(material["n"]) < RSA_BITS_MIN:
            raise ConfigInvalid(f"{where}: RSA key of under {RSA_BITS_MIN} bits")
        key = import_key(dict(material))
        fitting = {name for name in algorithms if _fits(name, key)}
    except (JoseError, ValueError, KeyError, TypeError) as error:
        raise _KeyPassedOver(f"unreadable ({type(error).__name__})") from None
    stated = entry.get("alg")
    if not fitting or (stated is not None and not _same_algorithm(stated, fitting)):
        raise _KeyPassedOver("fits none of the issuer's algorithms")
    if not isinstance(key, ECKey | OKPKey | RSAKey):
        raise _KeyPassedOver("not an asymmetric key")
    return kid, key


def _bits(modulus: str) -> int:
    return int.from_bytes(_unbase64(modulus), "big").bit_length()


def _may_verify(operations: Json) -> bool:
    return operations is None or (isinstance(operations, list) and "verify" in operations)


def _same_algorithm(stated: Json, fitting: set[str]) -> bool:
    edwards = {"Ed25519", "EdDSA"}
    return stated in fitting or (stated in edwards and bool(edwards & fitting))


def _fits(algorithm: str, key: object) -> bool:
    try:
        _VERIFIERS[algorithm].check_key(key)
    except JoseError:
        return False
    return True


def _read_object(part: str, what: str) -> dict[str, Json]:
    try:
        value = _strict_json(_unbase64(part))
    except ValueError as error:
        raise _malformed(f"the {what} is not strict JSON in base64url") from error
    if not isinstance(value, dict):
        raise _malformed(f"the {what} is not a JSON object")
    return value


def _strict_json(raw: bytes) -> Json:
    """JSON without duplicate names, NaN, overflowing numbers or lone surrogates.

    Two readers, because msgspec refuses the last three and takes the last of two equal names.
    Raises ValueError.
    """
    try:
        value: Json = msgspec.json.decode(raw)
        json.loads(raw, object_pairs_hook=_refuse_duplicates)
    except UNREADABLE as error:
        raise ValueError(type(error).__name__) from None
    return value


def _refuse_duplicates(pairs: list[tuple[str, Json]]) -> None:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("a name stands twice in one object")


def _unbase64(part: str) -> bytes:
    """base64url without padding; raises ValueError. Characters were checked by ``_COMPACT`` or
    are checked here."""
    try:
        return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None


def _malformed(detail: str) -> IdentityRejected:
    return IdentityRejected("token_malformed", detail)
