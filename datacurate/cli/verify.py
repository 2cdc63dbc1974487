"""`datacurate verify`: retrain on kept, all and random examples, attack, and judge."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from datacurate.cli import console
from datacurate.cli.options import Data, Force, Json, RecipeName, Settings
from datacurate.cli.profile import default_recipe
from datacurate.cli.sources import recorded_data

if TYPE_CHECKING:
    from datacurate.data import DataSet
    from datacurate.files.indexfile import IndexFile
    from datacurate.verification import GivenRows, Progress, Verification


def verify(
    indices: Annotated[
        Path | None,
        typer.Argument(
            help="An index file of the kept examples; by default ./idx.npy, or with --arm none.",
            show_default=False,
        ),
    ] = None,
    *,
    arm: Annotated[
        list[str] | None,
        typer.Option(
            "--arm",
            metavar="NAME=FILE.npy",
            help="One more arm, of an index file. Repeatable. Without an index file of kept "
            "examples these are the only arms.",
            show_default=False,
        ),
    ] = None,
    compare: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ARM:OTHER",
            help="Judge one arm against another. Repeatable; by default kept, or else the first "
            "arm, against each of the others.",
            show_default=False,
        ),
    ] = None,
    data: Data = None,
    recipe: RecipeName = None,
    settings: Settings = None,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where to write.")] = Path(
        "verify.json"
    ),
    expect: Annotated[
        Literal["better"] | None,
        typer.Option(
            help="Exit with 1 unless the first comparison, by default kept against all, says so.",
            show_default=False,
        ),
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Retrain on kept, all and random examples, attack, and judge.

    AutoAttack on the same test images for every arm, paired over seeds. Any verdict
    is a result and exits with 0, unless --expect asks for one. Stopped at any moment,
    the same command goes on where it was.

    Example: datacurate verify idx.npy --data ~/data/cifar10 --recipe proxy --set seeds=5

    Two halves: datacurate verify --arm friendly=f.npy --arm problematic=p.npy
    """
    from datacurate import verification
    from datacurate.cli.progress import Watch, duration
    from datacurate.data import load
    from datacurate.outputs import refuse_existing
    from datacurate.recipes import VERIFY_RECIPES, recipe_hash, with_settings
    from datacurate.recipes.settings import load as load_recipe

    files = _arm_files(indices, arm or [])
    indexes = {name: _index(path) for name, path in files.items()}
    refuse_existing(out, force)
    dataset = next(iter(indexes.values())).dataset.name
    wanted = [*(settings or []), *([f"compare={','.join(compare)}"] if compare else [])]
    chosen = with_settings(load_recipe(VERIFY_RECIPES, recipe or default_recipe(dataset)), wanted)
    chosen = verification.with_own_arms(chosen, indexes)
    images = load(*recorded_data(dataset, data), tell=console.note)
    given = {name: _given(files[name], index, images) for name, index in indexes.items()}
    full = verification.resolved(chosen, images)
    arms = verification.arms_of(full, images, given)
    sizes = ", ".join(f"{name} ({arms.size(name):,})" for name in full.arms)
    console.note(
        f"recipe: {full.name} ({recipe_hash(full)}): {full.summary}; arms {sizes}; "
        f"{full.execution.device}, {full.execution.dtype}, {full.execution.threads} threads"
    )
    console.note(_effect_line(verification.stated_effect(full, images), full.seeds))
    if verification.is_unfinished(out) and not force:
        console.note(f"going on with the unfinished verification of {out}")
    else:
        seconds = verification.estimated_seconds(chosen, images, given)
        console.note(f"its trainings take about {duration(seconds)}, the attacks come on top")
    members = full.seeds * len(full.arms)
    with Watch(members * full.training.epochs) as watch:
        found = verification.verify(
            chosen,
            images,
            given,
            out,
            force=force,
            on_progress=lambda p: _watch(watch, p, full.training.epochs),
        )
    if as_json:
        console.print_json(found.as_dict())
    else:
        print_verification(found)
        console.say_out(f"record: {out}")
    if expect is not None and [c.verdict.word for c in found.comparisons[:1]] != [expect]:
        raise typer.Exit(1)


def _arm_files(indices: Path | None, arms: list[str]) -> dict[str, Path]:
    """Return the index file of every arm that has one, kept first."""
    from datacurate.errors import UsageError
    from datacurate.verification import KEPT

    files: dict[str, Path] = {}
    if indices is not None or not arms:
        files[KEPT] = indices or Path("idx.npy")
    for text in arms:
        name, separator, path = text.partition("=")
        if not name or not separator or not path:
            raise UsageError(
                f"--arm {text} does not say which arm is in which file", expected="NAME=FILE.npy"
            )
        if name in files:
            raise UsageError(f"the arm {name!r} is given twice", hint="give each its own name")
        files[name] = Path(path)
    return files


def _index(path: Path) -> IndexFile:
    from datacurate.errors import UsageError
    from datacurate.files import indexfile

    if not path.exists():
        raise UsageError(
            f"there is no index file {path}",
            hint="datacurate prune NAME.ranks.h5 --keep 80% --out idx.npy",
        )
    return indexfile.read(path)


def _given(path: Path, index: IndexFile, images: DataSet) -> GivenRows:
    """Return the rows of an index file, checked against the data, with what is recorded of it."""
    from datacurate.files import indexfile
    from datacurate.verification import GivenRows

    match = indexfile.require_match(index, images.train.identity, f"the rows in {path}")
    if match.warning is not None:
        console.warn(match.warning)
    about = {
        "file": path.name,
        "selection": dict(index.selection),
        "source": dict(index.source),
        "match": match.relation.value,
    }
    return GivenRows(index.kept, about)


def print_verification(found: Verification) -> None:
    """Print a verification's table and its verdict."""
    from rich.table import Table

    from datacurate.recipes import recipe_hash

    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("arm", "examples", "at", "clean", "PGD-10", "AutoAttack", "gap", "minutes"):
        table.add_column(heading, justify="left" if heading in ("arm", "at") else "right")
    for arm in found.recipe.arms:
        members = found.of(arm)
        for which in ("best", "last"):
            evaluations = [m.best if which == "best" else m.last for m in members]
            accuracies = [
                _mean([getattr(e, name).percent for e in evaluations])
                for name in ("clean", "pgd", "robust")
            ]
            gap = f"{sum(e.overestimation_gap for e in evaluations) / len(evaluations):.2f}"
            minutes = f"{sum(m.seconds for m in members) / len(members) / 60:.1f}"
            first = (arm, f"{members[0].size:,}") if which == "best" else ("", "")
            table.add_row(*first, which, *accuracies, gap, minutes if which == "best" else "")
    console.print_table(table)
    recipe, outcome = found.recipe, found.members[0].best.outcome
    console.say_out(
        f"% of {len(found.members[0].best):,} test examples right at radius {recipe.radius:g}/255, "
        f"mean±deviation over {recipe.seeds} seeds; gap: PGD-10 − AutoAttack; {outcome.label} by "
        f"{outcome.implementation}; recipe {recipe.name} ({recipe_hash(recipe)}), "
        f"{found.hardware['processor']}"
    )
    for comparison in found.comparisons:
        verdict = comparison.verdict
        pair = f"{comparison.judged} against {comparison.against}"
        console.say_out(f"{pair}: {verdict.word}: {verdict.reason}")


def _mean(values: list[float]) -> str:
    """Return a mean with its deviation over seeds, where there is more than one."""
    import numpy as np

    mean = f"{np.mean(values):.2f}"
    return mean if len(values) < 2 else f"{mean}±{np.std(values, ddof=1):.2f}"


def _effect_line(effect: float | None, seeds: int) -> str:
    if effect is None:
        return "one seed detects no difference whatever its size: for a verdict, --set seeds=3"
    return f"with {seeds} seeds a difference of {effect:.1f} points can be seen (80 % power)"


def _watch(watch: Any, progress: Progress, epochs: int) -> None:
    what = f"{progress.arm}, seed {progress.seed} ({progress.member}/{progress.members})"
    if progress.epoch is not None:
        watch.epoch(what, (progress.member - 1) * epochs, 1.0, progress.epoch)
    else:
        watch.attack(what, progress.attack, progress.done, progress.total)
