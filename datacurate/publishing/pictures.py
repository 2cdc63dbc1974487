"""Pictures of ranks for a data set card."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from datacurate.files.rankfile import RankFile
from datacurate.ranks.ranking import mean_over_runs

TOP = 0.2
"""The share of examples that count as the most problematic in pictures and tables."""

_MOST_CLASSES = 25
_BINS = 50


def draw(ranks: RankFile, folder: Path) -> dict[str, str]:
    """Draw what there is to see in a rank file.

    Parameters
    ----------
    ranks : RankFile
    folder : Path
        The PNG files go here; it exists.

    Returns
    -------
    dict of str to str
        For each file's name what it shows.
    """
    drawn: dict[str, str] = {}
    if "instability" in ranks.columns:
        name = "instability.png"
        _instability(ranks).savefig(folder / name, dpi=110, metadata={"Software": None})
        drawn[name] = (
            f"Learning instability, mean over {ranks.runs} runs, of "
            f"{int(ranks.profiled.sum()):,} examples"
        )
    if ranks.identity.labelled:
        name = "classes.png"
        _classes(ranks).savefig(folder / name, dpi=110, metadata={"Software": None})
        drawn[name] = f"The share of each class among the {TOP:.0%} most problematic examples" + (
            f" ({_MOST_CLASSES} highest)" if ranks.identity.classes > _MOST_CLASSES else ""
        )
    return drawn


def top_shares(ranks: RankFile) -> list[tuple[str, int, int]]:
    """Return for each class its name, its examples, and how many are most problematic.

    The class with the highest share of its examples comes first. Only examples that were profiled
    count, and the labels must be known.
    """
    position = ranks.columns["position"]
    ranked = int(ranks.profiled.sum())
    labels, classes = ranks.identity.labels, ranks.identity.classes
    size = np.bincount(labels[ranks.profiled], minlength=classes)
    top = np.bincount(labels[position >= ranked - round(TOP * ranked)], minlength=classes)
    rows = list(zip(ranks.identity.class_names, size.tolist(), top.tolist(), strict=True))
    return sorted((row for row in rows if row[1]), key=lambda row: -row[2] / row[1])


def _instability(ranks: RankFile) -> Figure:
    figure = Figure(figsize=(6, 3), layout="constrained")
    axes = figure.subplots()
    values = mean_over_runs(ranks.columns["instability"][ranks.profiled])
    axes.hist(values, bins=_BINS, range=(0, 1), color="#3b6ea5")
    axes.set_xlabel("learning instability (1: never learned)")
    axes.set_ylabel("examples")
    return figure


def _classes(ranks: RankFile) -> Figure:
    rows = top_shares(ranks)[:_MOST_CLASSES][::-1]
    figure = Figure(figsize=(6, 1 + 0.25 * len(rows)), layout="constrained")
    axes = figure.subplots()
    # A name may hold dollar signs, which would be read as mathematics.
    names = [name.replace("$", r"\$") for name, _, _ in rows]
    axes.barh(range(len(rows)), [100 * top / size for _, size, top in rows], color="#b5533c")
    axes.set_yticks(range(len(rows)), names)
    axes.axvline(100 * TOP, color="black", linewidth=0.8)
    axes.set_xlabel(f"% of the class among the {TOP:.0%} most problematic")
    return figure
