"""A label that has no code of its own in, the code that it shares out: by a hash of its text, the same on every machine."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

CODES_A_LABEL = 2  # so that three of five labels meet no other
MOST_SHARED = 100_000


def shared_codes(counts: Sequence[int]) -> int:
    """How many codes labels share that have so many training rows each: none where most of these rows are of labels that
    stand once, since most rarer labels to come are then new (Good 1953), and would be taken for others by chance."""
    return min(MOST_SHARED, CODES_A_LABEL * len(counts)) if 2 * sum(c == 1 for c in counts) <= sum(counts) else 0


def shared_code(text: str, codes: int) -> int:
    """One of 0 .. codes - 1: the first 8 bytes of BLAKE2b (RFC 7693, digest of 8 bytes) of the text in UTF-8, the low byte
    first, modulo `codes`.

    A third of the time that SplitMix64 takes in Python, word by word; of a text of a megabyte, a hundredth.
    """
    digest = blake2b(
        text.encode("utf-8", "surrogatepass"), digest_size=8
    ).digest()  # lone surrogates: only of a single row
    return int.from_bytes(digest, "little") % codes
