"""Keys and tokens for the identity tests, made with the primitives and not with the code under
test: a header or payload can be any bytes."""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import json
from collections.abc import Mapping

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


def encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def as_json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


@functools.cache
def private_key(name: str) -> PrivateKey:
    """The key ``name``: its first letters choose the type."""
    if name.startswith("rsa"):
        return rsa.generate_private_key(65537, 1024 if "small" in name else 2048)
    if name.startswith("p384"):
        return ec.generate_private_key(ec.SECP384R1())
    if name.startswith("ed"):
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key(ec.SECP256R1())


def _number(value: int, size: int) -> str:
    return encode(value.to_bytes(size, "big"))


def jwk(name: str, kid: str | None = None, **members: object) -> dict[str, object]:
    """The public JWK of ``private_key(name)``."""
    public = private_key(name).public_key()
    entry: dict[str, object] = {"kid": kid or name, **members}
    if isinstance(public, ec.EllipticCurvePublicKey):
        size = public.key_size // 8
        numbers = public.public_numbers()
        entry |= {"kty": "EC", "crv": f"P-{public.key_size}"}
        entry |= {"x": _number(numbers.x, size), "y": _number(numbers.y, size)}
    elif isinstance(public, rsa.RSAPublicKey):
        modulus = public.public_numbers().n
        entry |= {"kty": "RSA", "n": _number(modulus, public.key_size // 8), "e": "AQAB"}
    else:
        entry |= {"kty": "OKP", "crv": "Ed25519", "x": encode(public.public_bytes_raw())}
    return entry


def jwks(*names: str) -> bytes:
    return as_json({"keys": [jwk(name) for name in names]})


def public_forms(name: str) -> dict[str, bytes]:
    """The public key in the forms that an attacker may use as an HMAC secret."""
    public = private_key(name).public_key()
    encoding, form = serialization.Encoding, serialization.PublicFormat
    return {
        "pem": public.public_bytes(encoding.PEM, form.SubjectPublicKeyInfo),
        "der": public.public_bytes(encoding.DER, form.SubjectPublicKeyInfo),
        "ssh": public.public_bytes(encoding.OpenSSH, form.OpenSSH),
        "jwk": as_json(jwk(name)),
        "empty": b"",
    }


def sign(signing_input: bytes, name: str, algorithm: str) -> bytes:
    key = private_key(name)
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(signing_input)
    digest = hashes.SHA384() if algorithm.endswith("384") else hashes.SHA256()
    if isinstance(key, rsa.RSAPrivateKey):
        scheme: padding.AsymmetricPadding = padding.PKCS1v15()
        if algorithm.startswith("PS"):
            scheme = padding.PSS(padding.MGF1(digest), digest.digest_size)
        return key.sign(signing_input, scheme, digest)
    r, s = decode_dss_signature(key.sign(signing_input, ec.ECDSA(digest)))
    size = key.curve.key_size // 8
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


def assemble(header: bytes, payload: bytes, name: str, algorithm: str = "ES256") -> str:
    """A token of exactly these bytes, rightly signed by ``name``."""
    signing_input = f"{encode(header)}.{encode(payload)}"
    return f"{signing_input}.{encode(sign(signing_input.encode(), name, algorithm))}"


def token(
    claims: Mapping[str, object],
    name: str = "ec-1",
    algorithm: str = "ES256",
    header: Mapping[str, object] | None = None,
) -> str:
    """A rightly signed token; ``header`` members are added, None removes one."""
    full: dict[str, object] = {"alg": algorithm, "kid": name, "typ": "at+jwt", **(header or {})}
    present = {member: value for member, value in full.items() if value is not None}
    return assemble(as_json(present), as_json(claims), name, algorithm)


def hmac_token(claims: Mapping[str, object], secret: bytes, kid: str, algorithm: str) -> str:
    header = as_json({"alg": algorithm, "kid": kid, "typ": "at+jwt"})
    signing_input = f"{encode(header)}.{encode(as_json(claims))}"
    mac = hmac.new(secret, signing_input.encode(), hashlib.sha256).digest()
    return f"{signing_input}.{encode(mac)}"
