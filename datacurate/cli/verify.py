"""`datacurate verify`: retrain on kept, all and random examples, attack, and judge."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from datacurate.cli import console
from datacurate.cli.arms import given_rows, indexes, recipe_for, swept
from datacurate.cli.options import Data, Force, Json, RecipeName, Settings
from datacurate.cli.profile import default_recipe
from datacurate.cli.sources import recorded_data

if TYPE_CHECKING:
    from datacurate.cli.progress import Watch
    from datacurate.data import DataSet
    from datacurate.recipes import VerifyRecipe
    from datacurate.verification import Point, Verification, VerificationProgress


def verify(
    indices: Annotated[
        Path | None,
        typer.Argument(
            help="An index file of the kept examples, by default ./idx.npy; with --keep, ranks as "
            "for prune; with --arm it may be left out.",
            show_default=False,
        ),
    ] = None,
    *,
    keep: Annotated[
        str | None,
        typer.Option(
            metavar="AMOUNT",
            help="Keep so many by ranks (a file, or published ones) as prune does: 40000, 0.8 or "
            "80%.",
            show_default=False,
        ),
    ] = None,
    arm: Annotated[
        list[str] | None,
        typer.Option(
            "--arm",
            metavar="NAME=FILE.npy",
            help="One more arm, of an index file. Repeatable. Without kept examples these are the "
            "only arms.",
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
    suite: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The attacks: standard, custom, or fast, an upper bound; by default the recipe's.",
            show_default=False,
        ),
    ] = None,
    sweep: Annotated[
        str | None,
        typer.Option(
            metavar="KEY=A,B,...",
            help="Verify at every value of keep or of a field of the recipe.",
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
    parallel: Annotated[
        int,
        typer.Option(
            metavar="K",
            help="Trainings at a time, with their attacks, each in a process of its own; same "
            "record.",
            min=1,
        ),
    ] = 1,
    trainings: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Keep trainings and attacks here, and take those that are here already: another "
            "suite on the same networks, one seed more.",
            show_default=False,
        ),
    ] = None,
    surrogate: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="For the suite transfer: the checkpoint whose examples all networks are shown.",
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

    A curve: datacurate verify cifar10 --sweep keep=0.2,0.4,0.6,0.8
    """
    from datacurate import verification
    from datacurate.cli.progress import Watch
    from datacurate.data import load
    from datacurate.errors import UsageError

    wanted = list(settings or [])
    wanted += [f"compare={','.join(compare)}"] if compare else []
    wanted += [f"suite={suite}"] if suite else []
    key, values = swept(sweep)
    if key == "keep" and keep is not None:
        raise UsageError("a sweep over keep says what is kept", hint="leave out --keep")
    if key is not None and expect is not None:
        raise UsageError("a sweep has no one verdict to expect", hint="leave out --expect")
    verification.refuse_existing_record(out, force)
    amounts = values if key == "keep" else [keep] * len(values)
    kept, own = indexes(indices, arm or [], amounts, data)
    dataset = (*kept, *own.values())[0].index.dataset.name
    images = load(*recorded_data(dataset, data), tell=console.note)
    points = []
    for number, value in enumerate(values):
        named = {**({verification.KEPT_ARM: kept[number]} if kept else {}), **own}
        given = {name: given_rows(name, index, images) for name, index in named.items()}
        changes = [*wanted, f"{key}={value}"] if key not in (None, "keep") else wanted
        chosen = recipe_for(recipe or default_recipe(dataset), changes, given)
        verification.surrogate_for(chosen, images, surrogate)
        points.append(verification.Point(value, chosen, given))
    unfinished = verification.is_unfinished(out) and not force
    for point in points:
        # What is unfinished has decided where the first value runs, and those that ask the same.
        decided = unfinished and point.recipe.execution == points[0].recipe.execution
        _announce(point, images, out, parallel, decided)
    if unfinished:
        console.note(f"going on with the unfinished verification of {out}")
    else:
        whose = "its" if key is None else "the first value's"
        _estimate(points[0], images, parallel, trainings, whose)
    epochs = [_epochs(point.recipe) for point in points]
    with Watch(sum(epochs)) as watch:
        if key is not None:
            table = verification.sweep(
                key,
                points,
                images,
                out,
                force=force,
                parallel=parallel,
                command=["datacurate", *sys.argv[1:]],
                trainings=trainings,
                surrogate=surrogate,
                on_progress=lambda value, p: _watch(
                    watch, p, f"{key}={value}, ", points, values.index(value)
                ),
            )
        else:
            found = verification.verify(
                points[0].recipe,
                images,
                points[0].given,
                out,
                force=force,
                parallel=parallel,
                command=["datacurate", *sys.argv[1:]],
                trainings=trainings,
                surrogate=surrogate,
                on_progress=lambda p: _watch(watch, p, "", points, 0),
            )
    if key is not None:
        _print_sweep(table, out, as_json)
        return
    if as_json:
        console.print_json(verification.as_record(found))
    else:
        print_verification(found)
        console.say_out(f"record: {out}; for people: {out.with_suffix('.md')}")
    if expect is not None and [c.verdict.word for c in found.comparisons[:1]] != [expect]:
        raise typer.Exit(1)


def _announce(point: Point, images: DataSet, out: Path, parallel: int, decided: bool) -> None:
    """Say what a verification will do, and what it can find."""
    from datacurate import verification
    from datacurate.cli.placing import placed, warn_if_crowded
    from datacurate.recipes import recipe_hash

    if not decided:
        for note in verification.decided(point.recipe, images, parallel, tell=console.note).notes:
            console.warn(note)
    full = verification.planned(point.recipe, images, out, force=not decided, parallel=parallel)
    arms = verification.arms_of(full, images, point.given)
    sizes = ", ".join(f"{name} ({arms.size(name):,})" for name in full.arms)
    together = verification.at_once(full, parallel)
    console.note(
        f"recipe: {full.name} ({recipe_hash(full)}): {full.summary}; arms {sizes}; "
        f"{placed(full.execution, together)}"
    )
    warn_if_crowded(full.execution, together)
    console.note(_effect_line(full, images))


def _estimate(
    point: Point, images: DataSet, parallel: int, trainings: Path | None, whose: str
) -> None:
    from datacurate.cli.progress import duration
    from datacurate.verification import estimated_seconds

    seconds = estimated_seconds(point.recipe, images, point.given, parallel, trainings)
    said = f"take about {duration(seconds)}" if seconds else f"are all in {trainings}"
    console.note(f"{whose} trainings {said}, the attacks come on top")


def _epochs(recipe: VerifyRecipe) -> int:
    """Return the epochs of all trainings of a verification."""
    return len(recipe.arms) * recipe.seeds * (1 + recipe.standard) * recipe.training.epochs


def _print_sweep(table: Mapping[str, Any], out: Path, as_json: bool) -> None:
    if as_json:
        console.print_json(table)
        return
    for point in table["points"]:
        for found in point["comparisons"]:
            console.say_out(
                f"{table['key']}={point['value']}: {found['judged']} against {found['against']}: "
                f"{found['word']}: {found['reason']}"
            )
    console.say_out(f"table: {out}, {out.with_suffix('.csv')}; a record of each value beside it")


def print_verification(found: Verification) -> None:
    """Print a verification's table and its verdicts."""
    from rich.table import Table

    from datacurate.recipes import recipe_hash
    from datacurate.verification import table

    headings, rows = table.table(found)
    shown = Table(box=None, header_style="bold", pad_edge=False)
    for heading in headings:
        shown.add_column(heading, justify="left" if heading in ("arm", "at") else "right")
    for row in rows:
        shown.add_row(*row)
    console.print_table(shown)
    recipe = found.recipe
    console.say_out(
        f"{table.statement(found)}; recipe {recipe.name} ({recipe_hash(recipe)}), "
        f"{found.hardware['processor']}"
    )
    for comparison in found.comparisons:
        console.say_out(table.verdict_line(found, comparison))
    for line in table.remarks(found):
        console.note(line)
    for line in table.warnings(found):
        console.warn(line)


def _effect_line(recipe: VerifyRecipe, images: DataSet) -> str:
    from datacurate.verification import correction, pairs, stated_effect

    effect = stated_effect(recipe, images)
    if effect is not None and effect > 100:
        return "so few seeds and examples can see no difference: --set seeds=5 --set examples=1000"
    if effect is None:
        return "one seed detects no difference whatever its size: for a verdict, --set seeds=3"
    examples = min(recipe.examples or len(images.test), len(images.test))
    line = (
        f"with {recipe.seeds} seeds and {examples:,} test examples a difference of {effect:.1f} "
        "points can be seen, in 80% of repetitions"
    )
    comparisons = len(pairs(recipe))
    return line if comparisons < 2 else f"{line} ({correction(comparisons)})"


def _watch(
    watch: Watch, progress: VerificationProgress, prefix: str, points: Sequence[Point], number: int
) -> None:
    what = f"{prefix}{progress.arm}, seed {progress.seed} ({progress.member}/{progress.members})"
    if progress.epoch is None:
        watch.attack(what, progress.attack, progress.done, progress.total)
        return
    before = sum(_epochs(point.recipe) for point in points[:number])
    watch.epoch(what, before + progress.trained - progress.epoch.epoch, 1.0, progress.epoch)
