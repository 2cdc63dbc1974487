"""Aggregate, order, prune and write 10 runs of 10 million examples, beside scipy and numpy.

``python -m tests.bench.bench_ranks [EXAMPLES [RUNS]]`` prints both sides, in seconds of processor
time (both use one thread, and a busy machine leaves that alone), and the peak memory of ours. The
other side ranks each run with `scipy.stats.rankdata`, averages, and sorts with `numpy.argsort`: no
rule for ties, no files.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np
from scipy import stats

from datacurate.formats import indexfile, rankfile
from datacurate.formats.provenance import Provenance
from datacurate.formats.rankfile import RankFile
from datacurate.identity import without_images
from datacurate.pruning import prune
from datacurate.ranks import ranking

EPOCHS = 160
CLASSES = 1000
Result = TypeVar("Result")


def peak_gigabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def timed(name: str, work: Callable[[], Result]) -> tuple[float, Result]:
    wall, start = time.perf_counter(), time.process_time()
    result = work()
    seconds = time.process_time() - start
    print(f"  {name:<28} {seconds:7.2f} s of processor, {time.perf_counter() - wall:7.2f} s")
    return seconds, result


def made_instability(examples: int, runs: int) -> np.ndarray:
    """Counts of 160 epochs with many easy and many hard examples, as real ones are."""
    chance = np.random.default_rng(0)
    easy = chance.beta(0.6, 0.6, examples)
    instability = np.empty((examples, runs), dtype=np.float32)
    for run in range(runs):
        instability[:, run] = 1 - chance.binomial(EPOCHS, easy) / EPOCHS
    return instability


def ours(instability: np.ndarray, probability: np.ndarray) -> float:
    examples, runs = instability.shape
    labels = np.arange(examples) % CLASSES
    identity = without_images("made", "train", labels, tuple(f"c{i}" for i in range(CLASSES)))
    total = 0.0

    def build() -> RankFile:
        score = ranking.aggregate(instability)
        order = ranking.rank(
            score,
            identity.label_fingerprint,
            probability=ranking.mean_over_runs(probability),
        )
        provenance = Provenance("profile", "mean-rank", ({"epochs": EPOCHS},) * runs)
        columns = {
            "problematic_rank": order.score,
            "position": order.position,
            "instability": instability,
            "probability": probability,
        }
        return RankFile(identity, columns, provenance)

    seconds, ranks = timed("aggregate and order", build)
    total += seconds
    seconds, index = timed("prune", lambda: prune(ranks, examples * 4 // 5, name="made"))
    total += seconds
    seconds, _ = timed(
        "prune --balanced", lambda: prune(ranks, examples * 4 // 5, balanced=True, name="made")
    )
    with place() as folder:
        seconds, _ = timed("write the index file", lambda: indexfile.write(folder / "i.npy", index))
        total += seconds
        seconds, _ = timed("write the rank file", lambda: rankfile.write(folder / "r.h5", ranks))
        total += seconds
        size = (folder / "r.h5").stat().st_size / 2**20
        timed("read the rank file", lambda: rankfile.read(folder / "r.h5", columns=()))
    print(f"  rank file of {size:,.0f} MiB")
    return total


def theirs(instability: np.ndarray) -> float:
    def average() -> np.ndarray:
        ranks = np.zeros(len(instability))
        for column in instability.T:
            ranks += stats.rankdata(column, method="min") - 1
        return ranks

    seconds, ranks = timed("rankdata of every run", average)
    return seconds + timed("argsort", lambda: np.argsort(ranks))[0]


@contextmanager
def place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


if __name__ == "__main__":
    examples = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000
    runs = int(sys.argv[2]) if len(sys.argv) > 2 else 10
    print(f"{examples:,} examples × {runs} runs")
    instability = made_instability(examples, runs)
    probability = np.random.default_rng(1).random((examples, runs), dtype=np.float32)
    print("datacurate")
    mine = ours(instability, probability)
    print(f"  total {mine:.2f} s, peak memory {peak_gigabytes():.2f} GiB, input included")
    print("scipy.stats.rankdata and numpy.argsort")
    other = theirs(instability)
    print(f"  total {other:.2f} s")
    print(f"ratio {other / mine:.2f}")
