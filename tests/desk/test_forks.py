"""A server loads its model, may predict with it, and forks its workers: whatever the parent has called, no child waits for ever."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import numpy as np
import pandas as pd
import pytest

import mbgd

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without forks")
SERVER = """
    import os, pickle, sys, time
    os.environ["OMP_NUM_THREADS"] = "2"
    import numpy as np, pandas as pd, torch, mbgd
    from torch import nn

    # an estimator's model, wide enough that its 8,192 rows are shared out among threads
    rows = np.random.default_rng(0).normal(size=(9000, 8)).astype(np.float32)

    def ends(work):
        pid = os.fork()
        if not pid:
            try:
                work()
                os._exit(0)
            finally:
                os._exit(1)
        for _ in range(200):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                assert os.waitstatus_to_exitcode(status) == 0
                return True
            time.sleep(0.1)
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        return False

    by_torch = lambda: (torch.rand(4096, 256) @ torch.rand(256, 256)).relu().softmax(1)
"""


def served(tmp_path: Path, *lines: str) -> str:
    program = dedent(SERVER) + "\n".join(map(dedent, lines))
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path], capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("models"), np.random.default_rng(0)
    X = rng.normal(size=(200, 8)).astype(np.float32)
    frame = pd.DataFrame(X, columns=list("abcdefgh")).assign(k=rng.choice(list("xy"), 200), y=X[:, 0])
    run = mbgd.fit_table(frame, "y", epochs=1)
    fitted = mbgd.MBGDClassifier(hidden_layer_sizes=(256, 256), epochs=1).fit(X, X[:, 0] > 0)
    run.save(folder / "table")
    fitted.save(folder / "arrays")
    (folder / "run.pickle").write_bytes(pickle.dumps(run))
    (folder / "fitted.pickle").write_bytes(pickle.dumps(fitted))
    return folder


LOADED = """
    place = sys.argv[1]
    frame = pd.DataFrame(rows, columns=list("abcdefgh")).assign(k="x")
    table, arrays, light = mbgd.load(place + "/table"), mbgd.load(place + "/arrays"), mbgd.load_light(place + "/arrays")
    run, fitted = (pickle.load(open(place + f"/{name}.pickle", "rb")) for name in ("run", "fitted"))
    calls = {
        "table": lambda: table.predict(frame),
        "arrays": lambda: arrays.predict_proba(rows),
        "light": lambda: light.predict_proba_one(rows[0]),
        "run": lambda: run.predict(frame),
        "fitted": lambda: fitted.predict_proba(rows),
    }
"""


def test_no_child_waits_for_threads_of_its_parent(models: Path) -> None:
    """By torch itself after loading, which has begun none; by MBGD also after the parent has predicted and trained."""
    lines = """
        print(ends(by_torch))
        for call in calls.values():
            call()
        by_torch()  # at the latest now the parent has threads
        print(*(ends(call) for call in calls.values()))
        words = {"hidden_layer_sizes": (256, 256), "epochs": 1, "batch_size": 2048, "n_jobs": 2}
        fit = lambda: mbgd.MBGDClassifier(**words).fit(rows, rows[:, 0] > 0).predict(rows)
        own = lambda: mbgd.MBGDEstimator(nn.Linear(8, 1), loss="squared_error", epochs=1).fit(rows, rows[:, 0])
        fit()
        print(ends(fit), ends(own), ends(lambda: mbgd.fit_table(frame.assign(y=rows[:, 0]), "y", epochs=1)))
        loop = lambda: list(mbgd.batches((rows, rows[:, 0]), batch_size=4096))
        print(ends(loop), ends(lambda: mbgd.explain(run, frame.assign(y=rows[:, 0]), repeats=2)))
    """
    assert served(models, LOADED, lines).split() == 11 * ["True"]
