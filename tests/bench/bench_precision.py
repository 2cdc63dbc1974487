"""What bfloat16 costs: two profiles that differ in their type alone, beside two float32 seeds.

``python -m tests.bench.bench_precision DATA [--examples N] [--epochs T] [--threads K]`` profiles
the first N training images of CIFAR-10 three times with ``preact-small`` of width 16:
float32 with seeds 0 and 1, bfloat16 with seed 0. It prints how far the orders agree.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from datacurate import profiling
from datacurate.data import DataSet, load
from datacurate.formats.rankfile import RankFile
from datacurate.machine import environment
from datacurate.ranks.agreement import agreement
from datacurate.recipes import PROFILE_RECIPES, with_settings


def profiled(data: DataSet, seed: int, dtype: str, epochs: int, threads: int) -> RankFile:
    """Profile once and say how it went."""
    recipe = with_settings(
        PROFILE_RECIPES["proxy"],
        [
            f"seed={seed}",
            f"execution.dtype={dtype}",
            "kernels=eager",
            f"threads={threads}",
            f"epochs={epochs}",
            "runs=1",
            "model.name=preact-small",
            "width=16",
            "memorization=0",
            "rank_by=instability",
            "measures=",
            f"every={epochs}",
        ],
    )
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        made = profiling.profile(recipe, data, Path(folder) / "cifar10.ranks.h5")
    run = made.provenance.runs[0]
    print(
        f"{dtype:9} seed {seed}  robust training accuracy {run['train_robust_accuracy']:.1%}, "
        f"{time.perf_counter() - began:.0f} s, recipe hash "
        f"{made.provenance.recipe_hash}"
    )
    return made


def compared(name: str, a: RankFile, b: RankFile) -> None:
    """Print how far two profiles agree."""
    found = agreement(a.ranking(), b.ranking())
    print(f"{name:32} {found.spearman:8.4f} {found.iou:17.4f}")


def main() -> None:
    """Profile three times and print the table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("data", type=Path, help="where CIFAR-10 lies")
    options.add_argument("--examples", type=int, default=5000)
    options.add_argument("--epochs", type=int, default=12)
    options.add_argument("--threads", type=int, default=1)
    chosen = options.parse_args()
    whole = load("cifar10", chosen.data)
    # All others are set aside: neither trained on nor ranked.
    data = replace(whole, borrowed=np.arange(chosen.examples, len(whole.train)))
    here = environment()
    print(
        f"CIFAR-10, the first {chosen.examples:,} training images, {chosen.epochs} epochs, "
        f"{chosen.threads} threads; {here['processor']}, torch {here['torch']}"
    )
    single = profiled(data, 0, "float32", chosen.epochs, chosen.threads)
    other = profiled(data, 1, "float32", chosen.epochs, chosen.threads)
    half = profiled(data, 0, "bfloat16", chosen.epochs, chosen.threads)
    print(f"{'':32} {'Spearman':>8} {'IoU of top 20 %':>17}")
    compared("bfloat16 and float32, seed 0", half, single)
    compared("float32, seeds 0 and 1", single, other)
    compared("bfloat16 seed 0, float32 seed 1", half, other)


if __name__ == "__main__":
    main()
