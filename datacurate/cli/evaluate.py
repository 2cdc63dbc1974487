"""`datacurate evaluate`: an attack suite on one model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from datacurate.cli import console
from datacurate.cli.options import Data, Json

if TYPE_CHECKING:
    from datacurate.evaluation import Evaluation


def evaluate(
    checkpoint: Annotated[
        Path, typer.Argument(help="A network written by `profile --checkpoints`.")
    ],
    dataset: Annotated[str, typer.Argument(help="As for `profile`; its test split is attacked.")],
    *,
    data: Data = None,
    suite: Annotated[
        Literal[
            "standard",
            "custom",
            "fast",
            "pgd-10",
            "pgd-20",
            "pgd-1000",
            "square",
            "rays",
            "transfer",
        ],
        typer.Option(
            "--suite",
            "--protocol",
            help="standard is all of AutoAttack, custom its APGD-CE and APGD-T; the others are "
            "upper bounds: fast stands in for standard in a small part of its time.",
        ),
    ] = "standard",
    surrogate: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="For the suite transfer: whose examples are shown."),
    ] = None,
    radius: Annotated[float, typer.Option(help="Of the ball, in 1/255.", min=0.001)] = 8.0,
    examples: Annotated[
        int, typer.Option(help="How many test examples, drawn by hash; 0 is all.", min=0)
    ] = 0,
    seed: Annotated[int, typer.Option(help="Of the attacks.", min=0)] = 0,
    as_json: Json = False,
) -> None:
    """Attack one model: clean, PGD-10 and robust accuracy.

    Example: datacurate evaluate nets/cifar10.run0.pt cifar10 --suite custom --examples 1000
    """
    from datacurate.attacks.validation import require_surrogate
    from datacurate.cli.progress import Watch
    from datacurate.data import load
    from datacurate.evaluation import choose_examples
    from datacurate.evaluation import evaluate as attack_suite
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
    with Watch(1) as watch:
        found = attack_suite(
            networks[checkpoint].net.to(device),
            test.images[rows],
            test.labels[rows],
            radius_255=radius,
            suite=suite,
            seed=seed,
            surrogate=None if surrogate is None else networks[surrogate].net.to(device),
            progress=lambda name, done, total: watch.attack(checkpoint.name, name, done, total),
        )
    if as_json:
        files = {
            "checkpoint": {"file": checkpoint.name, "sha256": sha256_file(checkpoint)},
            "surrogate": surrogate and {"file": surrogate.name, "sha256": sha256_file(surrogate)},
        }
        console.print_json({**found.as_dict(), **files})
    else:
        _print_evaluation(checkpoint, found)


def _print_evaluation(checkpoint: Path, found: Evaluation) -> None:
    outcome = found.outcome
    console.say_out(
        f"{checkpoint.name}: {len(found):,} test examples, radius {outcome.radius * 255:g}/255, "
        f"seed {outcome.seed}, {outcome.implementation}, {found.device}"
    )
    for name, accuracy in (
        ("clean", found.clean),
        ("PGD-10", found.pgd),
        (f"AutoAttack {outcome.suite}" if not found.upper_bound else outcome.suite, found.robust),
    ):
        low, high = accuracy.interval()
        console.say_out(f"  {name:20} {accuracy.percent:6.2f} %  [{low:.2f}, {high:.2f}]")
    console.say_out(f"  {outcome.label}")
    if found.upper_bound:
        console.say_out("  an upper bound: AutoAttack standard may leave less")
    for name, left in zip(outcome.attacks, outcome.left, strict=True):
        console.say_out(f"    after {name:12} {left:,} right")
    for line in found.warnings:
        console.warn(line)
