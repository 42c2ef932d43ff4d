"""BLAKE2b without OpenSSL: the digest that this package uses, at a tenth of the start-up cost.

`hashlib` loads the OpenSSL library to offer a dozen digests; its `blake2b` is the very function that is taken here
straight from where the interpreter keeps it. Where it is not there, `hashlib` has it.
"""

try:
    from _blake2 import blake2b
except ImportError:
    from hashlib import blake2b

__all__ = ["digest_of"]


def digest_of(content: bytes, size_bytes: int) -> bytes:
    """The BLAKE2b digest of `content`, of 1 to 64 bytes."""
    return blake2b(content, digest_size=size_bytes).digest()
