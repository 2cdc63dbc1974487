"""How far cheap profiles agree with the ranks that the paper's authors published.

``python -m tests.bench.bench_proxy WORK --data DIR --upstream prob_rank.npy`` makes every trial of
`TRIALS` (or those named by ``--trial``) on the same 10,000 training images of CIFAR-10, one after
the other, in the folder WORK; what is finished there is not made again, what was interrupted goes
on. Then it prints a row for each trial and each way to rank it. ``--ranks FILE`` adds finished rank
files, such as those of all 50,000 images.

Recipes are chosen by the images with even row numbers, which is what is printed; ``--half odd``
prints the half by which nothing was chosen, ``--half all`` both together.

``--unchanged`` runs the recipe as it is on digits with planted flips, and on what ``--cifar100``
names, and prints how far its two runs agree.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from datacurate import profiling
from datacurate.data import DataSet, load
from datacurate.data.corruption import flip_labels
from datacurate.demo import FLIPPED
from datacurate.formats import rankfile
from datacurate.formats.aggregating import aggregate_runs
from datacurate.formats.rankfile import RankFile
from datacurate.publishing.agreement import KEPT_SHARE, load_published
from datacurate.ranks import ranking
from datacurate.ranks.agreement import agreement
from datacurate.ranks.comparison import compare
from datacurate.ranks.ranking import Ranking
from datacurate.recipes import PROFILE_RECIPES, with_settings
from datacurate.workers.workspace import is_unfinished

BASE = ["epochs=24", "runs=1", "memorization=0", "threads=1"]
TRIALS = {
    "small net": ["model.name=preact-small", "width=16"],
    "patch net": [],
    "radius 1.5": ["radius=1.5", "attack.step=1.875"],
    "radius 8": ["radius=8", "attack.step=10"],
    "last quarter bare": ["memorization=0.25"],
    "last two fifths bare": ["memorization=0.4"],
    "last half bare": ["memorization=0.5"],
    "last third bare, radius 4.5": ["memorization=0.33", "radius=4.5", "attack.step=5.625"],
}
"""Changes of the recipe ``proxy`` after those of `BASE`."""

RULES = (
    ("instability",),
    ("probability",),
    ("late_probability",),
    ("final_probability",),
    ("instability", "late_probability"),
    ("instability", "late_probability", "final_probability"),
)
"""Columns by which each run ranks; the mean of their ranks is compared."""


def made(name: str, data: DataSet, work: Path, seed: int) -> RankFile:
    """Return the rank file of a trial, making it if it is not there."""
    out = work / f"{name.replace(' ', '-').replace(',', '')}.{seed}.ranks.h5"
    if not out.exists() or is_unfinished(profiling.workspace_of(out)):
        changes = [*BASE, *TRIALS[name], f"seed={seed}"]
        profiling.profile(with_settings(PROFILE_RECIPES["proxy"], changes), data, out)
    return rankfile.read(out)


def ranked(ranks: RankFile, rule: tuple[str, ...]) -> Ranking:
    """Return the order of a file's examples by a rule of `RULES`."""
    recipe = {**(ranks.provenance.recipe or {}), "rank_by": list(rule)}
    score = np.full(len(ranks), np.nan)
    score[ranks.profiled] = aggregate_runs(
        ranks.columns, ranks.profiled, replace(ranks.provenance, recipe=recipe)
    )
    return ranking.rank(
        score,
        ranks.identity.label_fingerprint,
        probability=ranks.probability,
        profiled=ranks.profiled,
    )


def row(name: str, ranks: RankFile, rule: tuple[str, ...], other: Ranking, half: str) -> str:
    """Return a line of the table."""
    rows = np.flatnonzero(ranks.profiled)
    rows = {"even": rows[rows % 2 == 0], "odd": rows[rows % 2 == 1], "all": rows}[half]
    order = ranked(ranks, rule)
    found = compare(order, other, keep=round(KEPT_SHARE * len(rows)), rows=rows)
    labels = ranks.identity.labels[rows]
    by_class = [agreement(order, other, rows=rows[labels == c]) for c in np.unique(labels)]
    low, high = (f(each.spearman for each in by_class) for f in (min, max))
    runs = ranks.provenance.runs
    minutes = sum(float(run["seconds"]) for run in runs) / 60
    seeds = " ".join(str(run["seed"]) for run in runs)
    return (
        f"| {name} | {' + '.join(rule)} | {found.spearman:.3f} | {found.iou:.3f} "
        f"| {found.overlap:.3f} | {low:.2f} to {high:.2f} | {minutes:.1f} | {seeds} "
        f"| {found.examples:,} | `{ranks.provenance.recipe_hash}` |"
    )


def table(found: dict[str, RankFile], other: Ranking, half: str) -> Iterator[str]:
    """Yield the table in Markdown."""
    yield (
        f"| trial ({half} rows) | ranked by | Spearman | IoU of top 20 % | kept 80 % by both "
        "| Spearman within classes | minutes of its processes | seeds | n | recipe |"
    )
    yield "|---" * 10 + "|"
    for name, ranks in found.items():
        for rule in RULES:
            if set(rule) <= set(ranks.columns):
                yield row(name, ranks, rule, other, half)


def unchanged(work: Path, cifar100: Path | None) -> Iterator[str]:
    """Run the recipe as it is on other data, and yield how far its runs agree."""
    recipe = PROFILE_RECIPES["proxy"]
    digits, flipped = flip_labels(load("digits"), FLIPPED, seed=0)
    sets = {"digits with flips": digits}
    if cifar100 is not None:
        sets["cifar100"] = load("cifar100", cifar100)
    for name, data in sets.items():
        out = work / f"unchanged-{name.replace(' ', '-')}.ranks.h5"
        if not out.exists() or is_unfinished(profiling.workspace_of(out)):
            profiling.profile(recipe, data, out, parallel=recipe.runs)
        ranks = rankfile.read(out)
        found = agreement(ranks.run_ranking(0), ranks.run_ranking(1))
        yield (
            f"{name}: {found.examples:,} examples, Spearman of the two runs {found.spearman:.3f}, "
            f"IoU of the top 20 % {found.iou:.3f}; recipe {ranks.provenance.recipe_hash}"
        )
        if data is digits:
            last = ranks.ranking().order[-len(flipped) :]
            caught = len(np.intersect1d(last, flipped))
            yield f"of {len(flipped)} planted flips {caught} are among the {len(flipped)} last"


def main() -> None:
    """Make the trials and print the table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("work", type=Path, help="a folder for the trials' rank files")
    options.add_argument("--data", type=Path, help="where CIFAR-10 lies")
    options.add_argument("--upstream", type=Path, help="a copy of the authors' prob_rank.npy")
    options.add_argument("--trial", action="append", choices=list(TRIALS))
    options.add_argument("--no-trials", action="store_true", help="--ranks alone")
    options.add_argument("--ranks", action="append", type=Path, default=[])
    options.add_argument("--examples", type=int, default=10_000)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--unchanged", action="store_true")
    options.add_argument("--cifar100", type=Path, help="where CIFAR-100, or a part of it, lies")
    options.add_argument("--half", choices=["even", "odd", "all"], default="even")
    chosen = options.parse_args()
    chosen.work.mkdir(parents=True, exist_ok=True)
    if chosen.unchanged:
        print(*unchanged(chosen.work, chosen.cifar100), sep="\n")
        return
    found = {path.stem: rankfile.read(path) for path in chosen.ranks}
    if not chosen.no_trials:
        whole = load("cifar10", chosen.data)
        # The same examples for every trial; all others are neither trained on nor ranked.
        drawn = np.random.default_rng(123).permutation(len(whole.train))
        data = replace(whole, borrowed=np.sort(drawn[chosen.examples :]))
        for name in chosen.trial or TRIALS:
            found[name] = made(name, data, chosen.work, chosen.seed)
    other = load_published("cifar10", chosen.upstream).ranks.ranking()
    print("\n".join(table(found, other, chosen.half)))


if __name__ == "__main__":
    main()
