"""`datacurate profile`: rank the examples of a data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from datacurate.cli import console
from datacurate.cli.options import Data, Force, Json, RecipeName, Settings

if TYPE_CHECKING:
    from datacurate.formats.rankfile import RankFile
    from datacurate.profiling import ProfilePlan
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
            metavar="K",
            help="Runs trained at a time, each in its own process. The columns stay the same.",
            min=1,
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
    """Rank the examples of a data set by how unstably they are learned.

    Trains several times, as the recipe says. The file is valid after every finished
    run. Stopped at any moment, the same command continues where it stopped.

    Example: datacurate profile cifar10 --data ~/data/cifar10 --recipe proxy
    """
    from datacurate import profiling
    from datacurate.cli.progress import LiveProgress
    from datacurate.data import load
    from datacurate.outputs import refuse_existing
    from datacurate.recipes import PROFILE_RECIPES, with_settings
    from datacurate.recipes.settings import load as load_recipe

    seconds = None if budget is None else parse_time(budget)
    name = recipe or default_recipe(dataset)
    requested = with_settings(load_recipe(PROFILE_RECIPES, name), settings or [])
    target = out or Path(f"{_stem(dataset)}{profiling.RANKS_SUFFIX}")
    # Refuse an output that cannot be written before the work, not after it.
    refuse_existing(target, force=True)
    images = load(dataset, data, tell=console.note)
    plan = profiling.plan(
        requested, images, target, force=force, parallel=parallel, tell=console.note
    )
    if seconds is not None:
        plan = _fit_budget(plan, seconds, parallel)
    _announce(plan)
    with LiveProgress(plan.recipe.runs * plan.recipe.training.epochs) as live:
        ranks = profiling.run(
            plan,
            checkpoints=checkpoints,
            on_epoch=lambda p: live.epoch(
                f"run {p.run}/{p.runs}", p.done - p.report.epoch, 1.0, p.report
            ),
        )
    if as_json:
        console.print_json(_result(target, ranks))
    else:
        _print(target, ranks, plan.recipe)


def _fit_budget(plan: ProfilePlan, seconds: float, parallel: int) -> ProfilePlan:
    from datacurate.cli.progress import duration
    from datacurate.profiling.time_budget import within_budget

    plan = within_budget(plan, seconds, parallel)
    requested = plan.requested
    console.note(
        f"within {duration(seconds)}: {requested.runs} runs of {requested.training.epochs} epochs"
    )
    return plan


def _announce(plan: ProfilePlan) -> None:
    """Say what a profile will do, and how long it takes."""
    from datacurate.cli.plan_lines import announce_recipe, estimate_line
    from datacurate.data.known import official_status

    identity, recipe = plan.data.train.identity, plan.recipe
    console.note(
        f"data: {identity.name}, {len(identity):,} examples: {official_status(identity)[1]}"
    )
    announce_recipe(recipe, plan.execution, f"{recipe.runs} runs on")
    if recipe.el2n_epoch < plan.requested.el2n_epoch:
        console.note(f"EL2N is measured after the last epoch, {recipe.el2n_epoch}")
    if plan.resumes:
        console.note(f"continuing the unfinished profile of {plan.out}")
        return
    estimate = plan.estimate()
    parts = {"training": estimate.trainings, "measures at most": estimate.measures}
    console.note(estimate_line(estimate.total, parts, estimate.concurrency))


def default_recipe(dataset: str) -> str:
    """Return the recipe of a profile that names none: the paper's on CUDA, else the proxy."""
    import torch

    if not torch.cuda.is_available():
        return "proxy"
    return f"paper-{dataset}" if dataset in ("cifar100", "tiny-imagenet") else "paper"


def parse_time(text: str) -> float:
    """Return a time such as ``90s``, ``30m`` or ``1h30m`` in seconds."""
    import re

    from datacurate.errors import UsageError

    match = re.fullmatch(r"(?:([0-9.]+)h)?(?:([0-9.]+)m)?(?:([0-9.]+)s)?", text.strip())
    try:
        parts = [float(part or 0) for part in match.groups()] if match else []
    except ValueError:
        parts = []
    seconds = sum(part * unit for part, unit in zip(parts, (3600, 60, 1), strict=False))
    if seconds <= 0:
        raise UsageError("--budget is not a time", expected="such as 30m, 1h30m or 90s", got=text)
    return seconds


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
                f"{run['catastrophic_overfitting']}: it is only robust to single-step attacks, so "
                "its scores say little; use more noise, a smaller radius or more steps"
            )
    agreement = _agreement(ranks)
    if agreement is not None:
        console.say_out(
            f"agreement of the runs ({agreement['pairs']} pairs): "
            f"Spearman {agreement['spearman']:.3f}, "
            f"IoU of the top 20 % {agreement['iou_top20']:.3f}"
        )
    console.say_out(
        f"{target}: {len(ranks):,} examples ranked over {len(runs)} runs, "
        f"recipe {recipe.name} ({ranks.provenance.recipe_hash})"
    )
    console.note(f"Next: datacurate prune {target} --keep 80% --out idx.npy")
