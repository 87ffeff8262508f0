"""A label that has no code of its own in, the code that it shares out: by a hash of its text, the same on every machine."""

from __future__ import annotations

from hashlib import blake2b

LABELS_A_CODE = 4  # on average: so many that a label never seen meets one that was learned, by the others of its hash
MOST_SHARED = 10_000


def shared_codes(labels: int) -> int:
    """How many codes so many labels share."""
    return min(MOST_SHARED, -(-labels // LABELS_A_CODE))


def shared_code(text: str, codes: int) -> int:
    """One of 0 .. codes - 1: the first 8 bytes of BLAKE2b (RFC 7693, digest of 8 bytes) of the text in UTF-8, the low byte
    first, modulo `codes`.

    A third of the time that SplitMix64 takes in Python, word by word; of a text of a megabyte, a hundredth.
    """
    digest = blake2b(
        text.encode("utf-8", "surrogatepass"), digest_size=8
    ).digest()  # lone surrogates: only of a single row
    return int.from_bytes(digest, "little") % codes
