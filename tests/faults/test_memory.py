"""Law: prediction takes memory by the block and not by the file; what a forged header claims takes none; no line is endless."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mbgd.cli import run
from mbgd.errors import DataError, MBGDError, SavedFileError, StorageError

MIB = 1 << 20
BUDGET = 64 * MIB  # the memory that a read or a refusal may take besides what the command takes anyhow
CALL = """
import resource, sys
from mbgd.cli import run

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

assert run(["predict", sys.argv[1], sys.argv[2], "--out", sys.argv[4]]) == 0  # all is imported and warm
before = peak()
code = run(["predict", sys.argv[1], sys.argv[3], "--out", sys.argv[5]])
print(code, peak() - before)
"""
LIMITED = """
import resource, sys
import torch, pyarrow, mbgd.desk.load, mbgd.data.table, mbgd.record.checkpoint
from mbgd.cli import run
in_use = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (in_use + int(sys.argv[1]),) * 2)
sys.exit(run(sys.argv[2:]))
"""


def limited(n_bytes: int, *words: object) -> tuple[int, str]:
    """The command, with so much address space besides what its libraries take: (exit code, what it says on stderr)."""
    given = [sys.executable, "-c", LIMITED, str(n_bytes), *map(str, words)]
    done = subprocess.run(given, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stderr


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with t.csv, t.parquet and a run of it."""
    folder = tmp_path_factory.mktemp("trained")
    chance = np.random.default_rng(0)
    columns = {f"x{k}": chance.normal(size=200) for k in range(8)}
    table = pa.table({**columns, "y": chance.normal(size=200)})
    table.to_pandas().to_csv(folder / "t.csv", index=False)
    pq.write_table(table, folder / "t.parquet")
    words = ["--target", "y", "--hidden-layer-sizes", "4", "--epochs", "1", "--quiet"]
    assert run(["train", str(folder / "t.csv"), *words, "--out", str(folder / "r")]) == 0
    return folder


def of_size(path: Path, n_bytes: int, *, like: Path) -> Path:
    """The rows of `like` again and again."""
    if path.suffix == ".csv":
        header, _, rows = like.read_bytes().partition(b"\n")
        with path.open("wb") as file:
            file.write(header + b"\n")
            for _ in range(n_bytes // len(rows) + 1):
                file.write(rows)
        return path
    table = pa.concat_tables([pq.read_table(like)] * 250)
    with pq.ParquetWriter(path, table.schema, compression="none", use_dictionary=False) as writer:
        for _ in range(
            n_bytes * 21 // (20 * table.nbytes) + 1
        ):  # it is written in a little less than it takes in memory
            writer.write_table(table)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_twice_the_file_takes_no_more_memory(trained: Path, tmp_path: Path, suffix: str) -> None:
    """5 and 10 times the budget, in one process: what readers and writers keep ahead is there from the first on."""
    like = trained / f"t.{suffix}"
    half = of_size(tmp_path / f"half.{suffix}", 5 * BUDGET, like=like)
    large = of_size(tmp_path / f"large.{suffix}", 10 * BUDGET, like=like)
    assert large.stat().st_size >= 10 * BUDGET
    out = [tmp_path / "p.parquet", tmp_path / "q.parquet"]
    given = [sys.executable, "-c", CALL, trained / "r", half, large, *out]
    done = subprocess.run(list(map(str, given)), capture_output=True, text=True, timeout=300, check=True)
    code, more = map(int, done.stdout.split())
    assert code == 0
    assert more < BUDGET
    assert pq.read_metadata(out[1]).num_rows > 1.9 * pq.read_metadata(out[0]).num_rows


def sparse(path: Path, head: bytes, size: int) -> Path:
    """A file of that size with nothing behind its head; it takes no room on disk."""
    with path.open("wb") as file:
        file.write(head)
        file.truncate(size)
    return path


CLAIMS: dict[str, tuple[str, bytes, tuple[str, ...], str]] = {
    "a header of 2 GB": ("m.safetensors", struct.pack("<Q", 2 << 30) + b"{", ("predict", "FILE", "t.csv"),
        "FILE is damaged or no safetensors file (its header has 2,147,483,648 bytes, at most 100,000,000 are one)"),
    "a header beyond the file": ("m.safetensors", struct.pack("<Q", 1 << 60) + b"{", ("predict", "FILE", "t.csv"),
        "FILE is damaged or no safetensors file (it has 3221225472 bytes, fewer than its header says)"),
    "JSON": ("plan.json", b'{"plan": {', ("train", "t.csv", "--plan", "FILE"),
        "FILE must have at most 67,108,864 bytes, it has 3,221,225,472; it is damaged or not MBGD's"),
    "CSV": ("t.csv", b"x0,y\n1,2\n", ("inspect", "FILE", "--target", "y"), "FILE: line 3 is longer than 16,777,216 characters"),
}  # fmt: skip


@pytest.mark.parametrize(
    "case", [pytest.param(name, marks=() if name == "JSON" else pytest.mark.slow) for name in CLAIMS]
)
def test_three_gigabytes_of_nothing_are_refused_within_the_budget(trained: Path, tmp_path: Path, case: str) -> None:
    name, head, words, message = CLAIMS[case]
    path = sparse(tmp_path / name, head, 3 << 30)
    named = {"FILE": path, "t.csv": trained / "t.csv"}
    code, said = limited(4 * BUDGET, *(named.get(word, word) for word in words))
    assert (code, said.count("\n")) == (3 if case == "CSV" else 4, 1), said
    assert said.startswith(f"mbgd: error: {message.replace('FILE', str(path))}"), said


@pytest.mark.slow
@pytest.mark.parametrize("quote", ["", '"'])
def test_a_line_of_two_gigabytes_is_refused_within_the_budget(tmp_path: Path, quote: str) -> None:
    """Of spaces, which make no cell invalid: in no line end, and in a quote that is not closed."""
    path = tmp_path / "t.csv"
    with path.open("wb") as file:
        file.write(b"x,y\n1,2\n" + quote.encode())
        block = b" " * (8 * MIB)
        for _ in range(256):
            file.write(block)
    code, said = limited(8 * BUDGET, "inspect", path, "--target", "y")
    path.unlink()
    assert code == 3, said
    assert said.startswith(f"mbgd: error: {path}: line 3 is longer than 16,777,216 characters"), said


def huge_shape(trained: Path, at: Path) -> list[str]:
    """A tensor that claims terabytes, in a file whose digest is right."""
    from safetensors.torch import load_file

    data = (trained / "r" / "model.safetensors").read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    name = next(iter(load_file(trained / "r" / "model.safetensors")))
    header[name]["shape"] = [1 << 40, 1 << 10]
    text = json.dumps(header).encode()
    (at / "m.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])
    return ["predict", str(at / "m.safetensors"), str(trained / "t.csv")]


def huge_rows(trained: Path, at: Path) -> list[str]:
    """A Parquet file whose footer counts 2^40 rows where there are 200: 200 stand there as zigzag varints."""
    data = (trained / "t.parquet").read_bytes()
    (at / "t.parquet").write_bytes(data.replace(b"\x90\x03", b"\x80\x80\x80\x80\x80\x40"))
    return ["inspect", str(at / "t.parquet"), "--target", "y"]


def huge_batch(trained: Path, at: Path) -> list[str]:
    """An Arrow file whose record batch claims 2^40 rows."""
    table = pq.read_table(trained / "t.parquet")
    with pa.OSFile(str(at / "t.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as out:
        out.write_table(table)
    data = (at / "t.arrow").read_bytes()
    (at / "t.arrow").write_bytes(data.replace(struct.pack("<q", 200), struct.pack("<q", 1 << 40)))
    return ["inspect", str(at / "t.arrow"), "--target", "y"]


@pytest.mark.parametrize(
    "forge", [*(pytest.param(one, marks=pytest.mark.slow) for one in (huge_shape, huge_batch)), huge_rows]
)
def test_what_a_header_claims_takes_no_memory(trained: Path, tmp_path: Path, forge: object) -> None:
    words = forge(trained, tmp_path)  # type: ignore[operator]
    code, said = limited(4 * BUDGET, *words)
    assert (code, said.count("\n")) == (SavedFileError.exit_code if forge is huge_shape else DataError.exit_code, 1), (
        said
    )
    assert "memory ran out" not in said


@pytest.mark.slow
def test_memory_that_is_not_there_is_one_sentence(trained: Path) -> None:
    """Whatever it is that does not get any first: a library may say so in words that are not known here, which is exit 1."""
    code, said = limited(MIB, "train", trained / "t.csv", "--target", "y", "--out", trained / "none", "--quiet")
    assert code in (MBGDError.exit_code, StorageError.exit_code), said
    assert said.startswith("mbgd: error: ")
    assert not (trained / "none").exists()
