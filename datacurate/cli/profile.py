"""`datacurate profile`: a data set → its ranks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from datacurate.cli import console
from datacurate.cli.options import Data, Force, Json, RecipeName, Settings

if TYPE_CHECKING:
    from datacurate.formats.rankfile import RankFile
    from datacurate.profiling.estimates import Estimate
    from datacurate.recipes import ProfileRecipe


def profile(
    dataset: Annotated[
        str,
        typer.Argument(
            help="cifar10, cifar100, tiny-imagenet, digits; or the path of a folder of images, "
            "of parquet files or of an .npz; or hf://datasets/OWNER/NAME."
        ),
    ],
    *,
    data: Data = None,
    recipe: RecipeName = None,
    settings: Settings = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="Where to write; by default NAME.ranks.h5 here.",
            show_default=False,
        ),
    ] = None,
    checkpoints: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Keep the robust-best network of every run.", show_default=False
        ),
    ] = None,
    parallel: Annotated[
        int,
        typer.Option(
            metavar="K", help="Runs at a time, each in a process of its own; same columns.", min=1
        ),
    ] = 1,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Choose runs and epochs for this time on this machine, such as 30m or 2h.",
            show_default=False,
        ),
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Rank a data set's examples by how unstably they are learned.

    Trains several times, as the recipe says. The file is valid after every finished
    run. Stopped at any moment, the same command goes on where it was.

    Example: datacurate profile cifar10 --data ~/data/cifar10 --recipe proxy
    """
    from datacurate import profiling
    from datacurate.cli.placing import placed, warn_if_crowded
    from datacurate.cli.progress import Watch, duration
    from datacurate.data import load
    from datacurate.data.known import standing
    from datacurate.outputs import refuse_existing
    from datacurate.profiling.time_budget import within_budget
    from datacurate.recipes import PROFILE_RECIPES, recipe_hash, with_settings
    from datacurate.recipes.settings import load as load_recipe

    seconds = None if budget is None else _seconds(budget)
    name = recipe or default_recipe(dataset)
    chosen = with_settings(load_recipe(PROFILE_RECIPES, name), settings or [])
    target = out or Path(f"{_stem(dataset)}{profiling.RANKS_SUFFIX}")
    # An output that cannot be written is said before the work, not after it.
    refuse_existing(target, force=True)
    images = load(dataset, data, tell=console.note)
    identity = images.train.identity
    unfinished = profiling.is_unfinished(target) and not force
    if seconds is not None:
        chosen = within_budget(chosen, images, target, seconds, parallel, force=force)
        console.note(
            f"within {duration(seconds)}: {chosen.runs} runs of {chosen.training.epochs} epochs"
        )
    if not unfinished:
        for note in profiling.decided(chosen, images, parallel, tell=console.note).notes:
            console.warn(note)
    full = profiling.planned(chosen, images, target, force=force, parallel=parallel)
    console.note(f"data: {identity.name}, {len(identity):,} examples: {standing(identity)[1]}")
    together = profiling.at_once(full, parallel)
    console.note(
        f"recipe: {full.name} ({recipe_hash(full)}): {full.summary}; {full.runs} runs on "
        f"{placed(full.execution, together)}"
    )
    warn_if_crowded(full.execution, together)
    if full.el2n_epoch < chosen.el2n_epoch:
        console.note(f"EL2N is measured after the last epoch, {full.el2n_epoch}: there are no more")
    if unfinished:
        console.note(f"going on with the unfinished profile of {target}")
    else:
        profiling.refuse_finished(target, force)
        console.note(_expected(profiling.estimated(chosen, images, parallel)))
    epochs = full.training.epochs
    with Watch(full.runs * epochs) as watch:
        ranks = profiling.profile(
            chosen,
            images,
            target,
            force=force,
            parallel=parallel,
            checkpoints=checkpoints,
            on_epoch=lambda p: watch.epoch(
                f"run {p.run}/{p.runs}", p.done - p.report.epoch, 1.0, p.report
            ),
        )
    if as_json:
        console.print_json(_result(target, ranks))
    else:
        _print(target, ranks, full)


def default_recipe(dataset: str) -> str:
    """Return the recipe of a profile that names none: the paper's on CUDA, else the proxy."""
    import torch

    if not torch.cuda.is_available():
        return "proxy"
    return f"paper-{dataset}" if dataset in ("cifar100", "tiny-imagenet") else "paper"


def _seconds(text: str) -> float:
    """Return a time such as ``90s``, ``30m`` or ``1h30m`` in seconds."""
    import re

    from datacurate.errors import UsageError

    found = re.fullmatch(r"(?:([0-9.]+)h)?(?:([0-9.]+)m)?(?:([0-9.]+)s)?", text.strip())
    try:
        parts = [float(part or 0) for part in found.groups()] if found else []
    except ValueError:
        parts = []
    seconds = sum(part * unit for part, unit in zip(parts, (3600, 60, 1), strict=False))
    if seconds <= 0:
        raise UsageError("--budget is not a time", expected="such as 30m, 1h30m or 90s", got=text)
    return seconds


def _expected(estimate: Estimate) -> str:
    """Return a line that says how long it takes, and what of."""
    from datacurate.cli.progress import duration

    parts = f"trainings {duration(estimate.trainings)}"
    if estimate.measures:
        parts += f", measures at most {duration(estimate.measures)}"
    if estimate.at_once > 1:
        parts += f", for {estimate.at_once} runs at a time that do not slow each other down"
    return f"this takes about {duration(estimate.total)}: {parts}"


def _stem(dataset: str) -> str:
    """Return the name of a data set's rank file: its own, or that of the last part of its path."""
    return Path(dataset.removesuffix("/")).name.removesuffix(".npz") or "data"


def _result(target: Path, ranks: RankFile) -> dict[str, Any]:
    provenance = ranks.provenance
    return {
        "file": str(target),
        "examples": len(ranks),
        "recipe": provenance.recipe,
        "recipe_hash": provenance.recipe_hash,
        "runs": [dict(run) for run in provenance.runs],
        "agreement_of_runs": _agreement(ranks),
    }


def _agreement(ranks: RankFile) -> dict[str, float] | None:
    """Return the mean agreement over all pairs of runs, or None for a single run."""
    from itertools import combinations

    from datacurate.ranks.agreement import agreement

    rankings = [ranks.run_ranking(run) for run in range(ranks.runs)]
    pairs = [agreement(a, b) for a, b in combinations(rankings, 2)]
    if not pairs:
        return None
    return {
        "pairs": len(pairs),
        "spearman": sum(pair.spearman for pair in pairs) / len(pairs),
        "iou_top20": sum(pair.iou for pair in pairs) / len(pairs),
    }


def _print(target: Path, ranks: RankFile, recipe: ProfileRecipe) -> None:
    from datacurate.cli.progress import duration

    runs = ranks.provenance.runs
    for number, run in enumerate(runs, start=1):
        console.say_out(
            f"run {number}: seed {run['seed']}, best epoch {run['best_epoch']} of {run['epochs']}, "
            f"clean {run['clean_accuracy']:.1%}, robust {run['robust_accuracy']:.1%}, "
            f"{duration(run['seconds'])}"
        )
        if "catastrophic_overfitting" in run:
            console.warn(
                f"run {number} overfitted catastrophically by epoch "
                f"{run['catastrophic_overfitting']}: it withstands single steps alone, and its "
                "scores say little; use more noise, a smaller radius or more steps"
            )
    found = _agreement(ranks)
    if found is not None:
        console.say_out(
            f"agreement of the runs ({found['pairs']} pairs): Spearman {found['spearman']:.3f}, "
            f"IoU of the top 20 % {found['iou_top20']:.3f}"
        )
    console.say_out(
        f"{target}: {len(ranks):,} examples ranked over {len(runs)} runs, "
        f"recipe {recipe.name} ({ranks.provenance.recipe_hash})"
    )
    console.note(f"next: datacurate prune {target} --keep 80% --out idx.npy")
