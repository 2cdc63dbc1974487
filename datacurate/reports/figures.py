"""Draw figures of ranks for data set cards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from datacurate.formats.rankfile import RankFile
from datacurate.ranks.agreement import shared_rows
from datacurate.ranks.ranking import mean_over_runs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TOP = 0.2
"""Share of examples that count as the most problematic in figures and tables."""

_MOST_CLASSES = 25
_BINS = 50


def draw(ranks: RankFile, folder: Path) -> dict[str, str]:
    """Draw the learning instability and the classes of a rank file.

    Parameters
    ----------
    ranks : RankFile
    folder : Path
        An existing folder for the PNG files.

    Returns
    -------
    dict of str to str
        Caption of each figure by its file name.
    """
    captions: dict[str, str] = {}
    if "instability" in ranks.columns:
        name = "instability.png"
        _instability(ranks).savefig(folder / name, dpi=110, metadata={"Software": None})
        mean = f", mean over {ranks.runs} runs" if ranks.runs > 1 else ""
        captions[name] = f"Learning instability{mean}, of {int(ranks.profiled.sum()):,} examples"
    if ranks.identity.labelled:
        name = "classes.png"
        _classes(ranks).savefig(folder / name, dpi=110, metadata={"Software": None})
        captions[name] = (
            f"The share of each class among the {TOP:.0%} most problematic examples"
            + (f" ({_MOST_CLASSES} highest)" if ranks.identity.classes > _MOST_CLASSES else "")
        )
    return captions


def draw_agreement(
    ranks: RankFile, published: RankFile, name: str, classes: Mapping[str, float], folder: Path
) -> dict[str, str]:
    """Draw the agreement of ranks with published ranks of the same examples.

    Parameters
    ----------
    ranks, published : RankFile
    name : str
        Name of the published ranks.
    classes : mapping of str to float
        Spearman's correlation within each class; may be empty.
    folder : Path
        An existing folder for the PNG files.

    Returns
    -------
    dict of str to str
        Caption of each figure by its file name.
    """
    captions = {"agreement.png": f"Normalised ranks: these and the published {name}, every example"}
    _both(ranks, published, name).savefig(
        folder / "agreement.png", dpi=110, metadata={"Software": None}
    )
    if classes:
        lowest = dict(sorted(classes.items(), key=lambda item: item[1])[:_MOST_CLASSES])
        captions["agreement-by-class.png"] = (
            f"Spearman's correlation with the published {name} within each class"
            + (f" ({_MOST_CLASSES} lowest)" if len(classes) > _MOST_CLASSES else "")
        )
        _bars([*lowest][::-1], [*lowest.values()][::-1], "Spearman within the class").savefig(
            folder / "agreement-by-class.png", dpi=110, metadata={"Software": None}
        )
    return captions


def top_shares(ranks: RankFile) -> list[tuple[str, int, int]]:
    """Return for each class its name, its number of examples, and how many are most problematic.

    The class with the highest share comes first. Only profiled examples count. The labels must be
    known.
    """
    position = ranks.columns["position"]
    ranked = int(ranks.profiled.sum())
    labels, classes = ranks.identity.labels, ranks.identity.classes
    size = np.bincount(labels[ranks.profiled], minlength=classes)
    top = np.bincount(labels[position >= ranked - round(TOP * ranked)], minlength=classes)
    rows = list(zip(ranks.identity.class_names, size.tolist(), top.tolist(), strict=True))
    return sorted((row for row in rows if row[1]), key=lambda row: -row[2] / row[1])


def _new_figure(size: tuple[float, float]) -> Figure:
    """Return an empty figure of a size in inches."""
    from matplotlib.figure import Figure  # slow to import

    return Figure(figsize=size, layout="constrained")


def _instability(ranks: RankFile) -> Figure:
    figure = _new_figure((6, 3))
    axes = figure.subplots()
    values = mean_over_runs(ranks.columns["instability"][ranks.profiled])
    axes.hist(values, bins=_BINS, range=(0, 1), color="#3b6ea5")
    axes.set_xlabel("learning instability (1: never learned)")
    axes.set_ylabel("examples")
    return figure


def _classes(ranks: RankFile) -> Figure:
    rows = top_shares(ranks)[:_MOST_CLASSES][::-1]
    figure = _bars(
        [name for name, _, _ in rows],
        [100 * top / size for _, size, top in rows],
        f"% of the class among the {TOP:.0%} most problematic",
    )
    figure.axes[0].axvline(100 * TOP, color="black", linewidth=0.8)
    return figure


def _bars(names: Sequence[str], values: Sequence[float], label: str) -> Figure:
    figure = _new_figure((6, 1 + 0.25 * len(names)))
    axes = figure.subplots()
    axes.barh(range(len(names)), values, color="#b5533c")
    axes.set_yticks(range(len(names)), [_literal(name) for name in names])
    axes.set_xlabel(label)
    return figure


def _both(ranks: RankFile, published: RankFile, name: str) -> Figure:
    rows = shared_rows(ranks.ranking(), published.ranking(), None)
    figure = _new_figure((5, 4.2))
    axes = figure.subplots()
    hexagons = axes.hexbin(
        _normalised(published, rows),
        _normalised(ranks, rows),
        gridsize=_BINS,
        extent=(0, 1, 0, 1),
        cmap="viridis",
        mincnt=1,
    )
    figure.colorbar(hexagons, label="examples")
    axes.set_xlabel(f"published {_literal(name)} (1: most problematic)")
    axes.set_ylabel("these ranks")
    return figure


def _normalised(ranks: RankFile, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    """Return the positions of some examples in the total order, scaled to [0, 1]."""
    last = max(int(ranks.profiled.sum()) - 1, 1)
    return np.asarray(ranks.columns["position"][rows] / last, dtype=np.float64)


def _literal(name: str) -> str:
    """Return a name with escaped dollar signs, which matplotlib reads as mathematics."""
    return name.replace("$", r"\$")
