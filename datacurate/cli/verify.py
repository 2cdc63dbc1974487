"""`datacurate verify`: retrain on kept, all and random examples, attack, and compare."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from datacurate.cli import console
from datacurate.cli.arms import ArmOptions, make_points, read_arms, read_sweep
from datacurate.cli.options import Data, Force, Json, RecipeName, Settings
from datacurate.cli.profile import default_recipe
from datacurate.cli.sources import load_arguments
from datacurate.cli.verification_report import (
    effect_line,
    print_sweep,
    print_verification,
)

if TYPE_CHECKING:
    from datacurate.cli.progress import LiveProgress
    from datacurate.verification import (
        SweepPlan,
        Verification,
        VerificationPlan,
        VerificationProgress,
    )


def verify(
    indices: Annotated[
        Path | None,
        typer.Argument(
            help="An index file of the kept examples, by default ./idx.npy. With --keep: ranks, as "
            "for prune. With --arm it may be left out.",
            show_default=False,
        ),
    ] = None,
    *,
    keep: Annotated[
        str | None,
        typer.Option(
            metavar="AMOUNT",
            help="Keep this many by ranks (a file, or published ones), as prune does: 40000, 0.8 "
            "or 80%.",
            show_default=False,
        ),
    ] = None,
    arm: Annotated[
        list[str] | None,
        typer.Option(
            "--arm",
            metavar="NAME=FILE.npy",
            help="Add an arm from an index file. Repeatable. Without kept examples these are the "
            "only arms.",
            show_default=False,
        ),
    ] = None,
    compare: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ARM:OTHER",
            help="Compare one arm with another. Repeatable. By default kept, or else the first "
            "arm, with each of the others.",
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
            help="Exit with 1 unless the first comparison has this verdict. By default that is "
            "kept against all.",
            show_default=False,
        ),
    ] = None,
    parallel: Annotated[
        int,
        typer.Option(
            metavar="K",
            help="Trainings at a time with their attacks, each in its own process. The record "
            "stays the same.",
            min=1,
        ),
    ] = 1,
    trainings: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Keep trainings and attacks here, and use those that are here already: for "
            "another suite on the same networks, or one more seed.",
            show_default=False,
        ),
    ] = None,
    surrogate: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="For the suite transfer: the checkpoint on which its examples are crafted.",
            show_default=False,
        ),
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Retrain on kept, all and random examples, attack, and compare.

    AutoAttack on the same test images for every arm, paired over seeds. Any verdict
    is a result and exits with 0, unless --expect asks for one. Stopped at any moment,
    the same command continues where it stopped.

    Example: datacurate verify idx.npy --data ~/data/cifar10 --recipe proxy --set seeds=5

    Two halves: datacurate verify --arm friendly=f.npy --arm problematic=p.npy

    A curve: datacurate verify cifar10 --sweep keep=0.2,0.4,0.6,0.8
    """
    from datacurate import verification
    from datacurate.data import load
    from datacurate.errors import UsageError

    key, values = read_sweep(sweep)
    if key == "keep" and keep is not None:
        raise UsageError("a sweep over keep says what is kept", hint="leave out --keep")
    if key is not None and expect is not None:
        raise UsageError("a sweep has no one verdict to expect", hint="leave out --expect")
    verification.refuse_existing_record(out, force)
    amounts = values if key == "keep" else [keep] * len(values)
    arms = read_arms(ArmOptions(indices, arm or [], amounts, data))
    images = load(*load_arguments(arms.dataset, data), tell=console.note)
    changes = list(settings or [])
    changes += [f"compare={','.join(compare)}"] if compare else []
    changes += [f"suite={suite}"] if suite else []
    points = make_points(key, values, arms, images, recipe or default_recipe(arms.dataset), changes)
    if key is not None:
        planned = verification.plan_sweep(
            key,
            points,
            images,
            out,
            force=force,
            parallel=parallel,
            trainings=trainings,
            surrogate=surrogate,
            tell=console.note,
        )
        print_sweep(_run_sweep(planned), out, as_json)
        return
    plan = verification.plan(
        points[0].recipe,
        images,
        points[0].given,
        out,
        force=force,
        parallel=parallel,
        trainings=trainings,
        surrogate=surrogate,
        tell=console.note,
    )
    result = _run(plan)
    if as_json:
        console.print_json(verification.as_record(result))
    else:
        print_verification(result)
        console.say_out(f"record: {out}; for people: {out.with_suffix('.md')}")
    if expect is not None and [c.verdict.word for c in result.comparisons[:1]] != [expect]:
        raise typer.Exit(1)


def _run(plan: VerificationPlan) -> Verification:
    from datacurate import verification
    from datacurate.cli.progress import LiveProgress

    _announce(plan)
    _announce_time(plan, plan.resumes, plan.out, "its")
    with LiveProgress(plan.epochs) as live:
        return verification.run(
            plan, command=_command(), on_progress=lambda p: _show(live, p, "", 0)
        )


def _run_sweep(sweep: SweepPlan) -> dict[str, Any]:
    from datacurate import verification
    from datacurate.cli.progress import LiveProgress

    for plan in sweep.plans.values():
        _announce(plan)
    _announce_time(sweep.first, sweep.resumes, sweep.out, "the first value's")
    before: dict[str, int] = {}
    total = 0
    for value, plan in sweep.plans.items():
        before[value] = total
        total += plan.epochs
    with LiveProgress(total) as live:
        return verification.run_sweep(
            sweep,
            command=_command(),
            on_progress=lambda value, p: _show(live, p, f"{sweep.key}={value}, ", before[value]),
        )


def _announce(plan: VerificationPlan) -> None:
    """Say what a verification will do, and what it can detect."""
    from datacurate.cli.plan_lines import announce_recipe

    sizes = ", ".join(f"{name} ({plan.arms.size(name):,})" for name in plan.recipe.arms)
    announce_recipe(plan.recipe, plan.execution, f"arms {sizes};")
    console.note(effect_line(plan))


def _announce_time(plan: VerificationPlan, resumes: bool, out: Path, whose: str) -> None:
    from datacurate.cli.progress import duration

    if resumes:
        console.note(f"continuing the unfinished verification of {out}")
        return
    seconds = plan.estimated_seconds()
    if seconds:
        console.note(
            f"Estimated time of {whose} trainings: {duration(seconds)}; attacks are not included"
        )
    else:
        console.note(f"{whose} trainings are all in {plan.trainings}; attacks take their time")


def _show(
    live: LiveProgress, progress: VerificationProgress, prefix: str, epochs_before: int
) -> None:
    what = f"{prefix}{progress.arm}, seed {progress.seed} ({progress.unit}/{progress.units})"
    if progress.epoch is None:
        live.attack(what, progress.attack, progress.done, progress.total)
        return
    done = epochs_before + progress.trained - progress.epoch.epoch
    live.epoch(what, done, 1.0, progress.epoch)


def _command() -> list[str]:
    return ["datacurate", *sys.argv[1:]]
