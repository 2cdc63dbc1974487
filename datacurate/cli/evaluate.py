"""`datacurate evaluate`: attack one model with a suite of attacks.

The function has a parameter for each option of the command.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from datacurate.attacks.suites import SUITES, Implementation
from datacurate.cli import console
from datacurate.cli.options import Data, Json

if TYPE_CHECKING:
    from datacurate.evaluation import Evaluation

    SuiteName = str
else:
    SuiteName = Literal[tuple(SUITES)]  # the table has the names; typer offers and checks them


def evaluate(
    checkpoint: Annotated[
        Path, typer.Argument(help="A network written by `profile --checkpoints`.")
    ],
    dataset: Annotated[str, typer.Argument(help="As for `profile`; the test split is attacked.")],
    *,
    data: Data = None,
    suite: Annotated[
        SuiteName,
        typer.Option(
            "--suite",
            "--protocol",
            help="standard is AutoAttack, custom its APGD-CE and APGD-T. After the others, the "
            "robust accuracy is an upper bound: fast takes a small part of the time of standard.",
        ),
    ] = "standard",
    surrogate: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="For the suite transfer: checkpoint on which its examples are crafted.",
        ),
    ] = None,
    radius: Annotated[float, typer.Option(help="Radius of the ball in 1/255.", min=0.001)] = 8.0,
    examples: Annotated[
        int, typer.Option(help="Number of test examples, chosen by hash; 0 is all.", min=0)
    ] = 0,
    seed: Annotated[int, typer.Option(help="Seed of the attacks.", min=0)] = 0,
    implementation: Annotated[
        Implementation,
        typer.Option(help="package runs the attacks of pyautoattack, to compare with."),
    ] = "own",
    as_json: Json = False,
) -> None:
    """Attack one model: clean, PGD-10 and robust accuracy.

    Example: datacurate evaluate nets/cifar10.run0.pt cifar10 --suite custom --examples 1000
    """
    from datacurate.attacks.settings import AttackSettings
    from datacurate.attacks.validation import require_surrogate
    from datacurate.cli.progress import LiveProgress
    from datacurate.data import load
    from datacurate.evaluation import choose_examples
    from datacurate.evaluation import evaluate as evaluate_model
    from datacurate.fingerprints import sha256_file
    from datacurate.training import devices
    from datacurate.training.checkpoints import load_network, require_for

    require_surrogate(suite, surrogate)
    networks = {path: load_network(path) for path in (checkpoint, surrogate) if path is not None}
    test = load(dataset, data, tell=console.note).test
    for path, network in networks.items():
        require_for(network, path, test.identity)
    device = devices.default_device()
    content = test.identity.content_hash
    assert content is not None
    rows = choose_examples(content, examples)
    settings = AttackSettings(
        radius_255=radius,
        suite=suite,
        seed=seed,
        implementation=implementation,
        surrogate=None if surrogate is None else networks[surrogate].net.to(device),
    )
    with LiveProgress(1) as live:
        result = evaluate_model(
            networks[checkpoint].net.to(device),
            test.images[rows],
            test.labels[rows],
            settings,
            progress=lambda name, done, total: live.attack(checkpoint.name, name, done, total),
        )
    if as_json:
        files = {
            "checkpoint": {"file": checkpoint.name, "sha256": sha256_file(checkpoint)},
            "surrogate": surrogate and {"file": surrogate.name, "sha256": sha256_file(surrogate)},
        }
        console.print_json({**result.as_dict(), **files})
    else:
        _print_evaluation(checkpoint, result)


def _print_evaluation(checkpoint: Path, result: Evaluation) -> None:
    outcome = result.outcome
    console.say_out(
        f"{checkpoint.name}: {len(result):,} test examples, radius {outcome.radius * 255:g}/255, "
        f"seed {outcome.seed}, {outcome.implementation}, {result.device}"
    )
    suite = outcome.suite if result.upper_bound else f"AutoAttack {outcome.suite}"
    for name, accuracy in (
        ("clean", result.clean),
        ("PGD-10", result.pgd),
        (suite, result.robust),
    ):
        low, high = accuracy.interval()
        console.say_out(f"  {name:20} {accuracy.percent:6.2f} %  [{low:.2f}, {high:.2f}]")
    console.say_out(f"  {outcome.label}")
    if result.upper_bound:
        console.say_out("  an upper bound: the robust accuracy under AutoAttack may be lower")
    for name, left in zip(outcome.attacks, outcome.left, strict=True):
        console.say_out(f"    after {name:12} {left:,} correct")
    for line in result.warnings:
        console.warn(line)
