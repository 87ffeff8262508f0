"""Nothing in, src/mbgd/compiled/coefficients.py out: minimax polynomials by Remez exchange at 80 digits.

Each polynomial has the least largest weighted error; its coefficients are then rounded to the precision they are used in.
The error left, relative to the function computed and rounding included, is printed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from mpmath import erf, erfc, expm1, linspace, log, lu_solve, matrix, mp, mpf, polyval, sqrt, tanh

mp.dps = 80
Function = Callable[[mpf], mpf]
OUT = Path(__file__).parent.parent / "src" / "mbgd" / "compiled" / "coefficients.py"
TINY = mpf(2) ** -40
BITS = {"FLOAT32": (24, 8), "FLOAT64": (53, 11)}  # of the significand, of the exponent
EDGE = {"FLOAT32": mpf("3.93"), "FLOAT64": mpf("5.95")}  # erf rounds to 1 from here on


def minimax(f: Function, terms: int, *, over: tuple[mpf, mpf], weight: Function) -> list[mpf]:
    """Coefficients of sum c_i x^i with the least max |weight (f - sum)| (Remez 1934, second algorithm)."""
    n, (low, high) = terms + 1, over
    at = [(low + high) / 2 - (high - low) / 2 * mp.cos(mp.pi * (2 * i + 1) / (2 * n)) for i in range(n)]
    grid = [(low + high) / 2 - (high - low) / 2 * mp.cos(mp.pi * i / 799) for i in range(800)]
    values, weights = [f(x) for x in grid], [weight(x) for x in grid]
    for _ in range(30):
        rows = [[weight(x) * x**p for p in range(terms)] + [mpf((-1) ** i)] for i, x in enumerate(at)]
        *c, level = lu_solve(matrix(rows), matrix([weight(x) * f(x) for x in at]))
        error = [w * (v - polyval(c[::-1], x)) for x, v, w in zip(grid, values, weights, strict=True)]
        at = [grid[i] for i in extremes(error, n)]
        if max(abs(e) for e in error) <= abs(level) * (1 + mpf("1e-3")):
            break
    return list(c)


def extremes(error: list[mpf], n: int) -> list[int]:
    """Where the error is extremal, with signs in turn: the largest of each stretch of one sign, n neighbours of them."""
    peaks: list[int] = []
    for i, e in enumerate(error):
        if peaks and (e > 0) == (error[peaks[-1]] > 0):
            if abs(e) > abs(error[peaks[-1]]):
                peaks[-1] = i
        else:
            peaks.append(i)
    while len(peaks) > n:
        peaks.pop(0 if abs(error[peaks[0]]) < abs(error[peaks[-1]]) else -1)
    if len(peaks) < n:
        raise SystemExit(f"the exchange lost its alternation: {len(peaks)} peaks of {n}; choose another degree")
    return peaks


def nearest(x: mpf, bits: int) -> mpf:
    """The nearest number with so many bits of significand."""
    with mp.workprec(bits):
        return +x


def worst(f: Function, c: Sequence[mpf], *, over: tuple[mpf, mpf], weight: Function) -> mpf:
    """The largest weighted error on a grid that the fit has not seen."""
    return max(abs(weight(x) * (f(x) - polyval(list(c)[::-1], x))) for x in linspace(*over, 1237))


def split(x: mpf, *, bits: int, spare: int) -> tuple[mpf, mpf]:
    """x = high + low, high with so many zero bits at its end that its product with a small whole number is exact."""
    high = nearest(x, bits - spare)
    return high, nearest(x - high, bits)


def table(name: str) -> dict[str, list[mpf]]:
    """All polynomials for one type, lowest power first; what each is fitted to stands beside it in the file written."""
    bits, exponent = BITS[name]
    single = bits == 24
    half = log(2) / 2 * (1 + mpf(2) ** -8)  # a little over: the rounding of x / ln 2 may fall to either side
    around = (sqrt(mpf(1) / 2) - 1, sqrt(mpf(2)) - 1)
    edge = EDGE[name]
    fits: dict[str, tuple[Function, int, tuple[mpf, mpf], Function]] = {
        "exp": (lambda r: (expm1(r) - r) / r**2, 5 if single else 10, (-half, half), lambda r: r**2 / expm1(r)),
        "log": (lambda f: (log(1 + f) - f) / f**2, 9 if single else 20, around, lambda f: f**2 / log(1 + f)),
        "tanh": (
            lambda u: (tanh(sqrt(u)) / sqrt(u) - 1) / u,
            5 if single else 11,
            (TINY, mpf("0.4")),
            lambda u: u * sqrt(u) / tanh(sqrt(u)),
        ),
        "erf": (
            lambda u: erf(sqrt(u)) / sqrt(u) - 1,
            7 if single else 13,
            (TINY, mpf(1)),
            lambda u: sqrt(u) / erf(sqrt(u)),
        ),
        "erfc": (lambda a: log(erfc(a)), 8 if single else 20, (mpf("0.99"), edge), lambda a: erfc(a) / erf(a)),
    }
    found = {}
    for key, (f, terms, over, weight) in fits.items():
        # at 0 the quotients are 0 / 0
        safe = (lambda x, f=f: f(x or TINY), lambda x, w=weight: abs(w(x or TINY)))
        c = [nearest(a, bits) for a in minimax(safe[0], terms, over=over, weight=safe[1])]
        error = worst(safe[0], c, over=over, weight=safe[1]) * mpf(2) ** bits
        print(f"{name} {key}: {terms} terms, error {mp.nstr(error, 2)} of 2^-{bits}", file=sys.stderr)
        found[key.upper()] = c
    found["LN2"] = list(split(log(2), bits=bits, spare=exponent + 1))
    return found


def written() -> str:
    """The file of coefficients, in the formatter's layout."""
    lines = [HEAD]
    for name in BITS:
        for key, c in table(name).items():
            lines.append(f"{key}_{name[-2:]} = (  # {MEANING[key]}")
            lines.extend(f"    {float(a)!r}," for a in c)
            lines.append(")")
    return "\n".join(lines) + "\n"


HEAD = '''"""Polynomials of elementary.py, lowest power first; written by scripts/elementary_coefficients.py: change that."""
'''
MEANING = {
    "EXP": "(e^r - 1 - r) / r^2 for |r| <= ln 2 / 2",
    "LOG": "(ln(1 + f) - f) / f^2 for 1 + f from sqrt(1/2) to sqrt(2)",
    "TANH": "(tanh(sqrt u) / sqrt(u) - 1) / u for u to 25/64",
    "ERF": "erf(sqrt u) / sqrt(u) - 1 for u to 1",
    "ERFC": "ln erfc(a) for a from 1 to where erf rounds to 1",
    "LN2": "ln 2 = high + low; high times an exponent is exact",
}

if __name__ == "__main__":
    OUT.write_text(written(), encoding="utf-8")
