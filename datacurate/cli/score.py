"""`datacurate score`: measure each example with one trained model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from datacurate.cli import console
from datacurate.cli.options import Data, Force, Json

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import nn

    from datacurate.data import ImageData


def score(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            help="A network written by `profile --checkpoints`; with --network a state dict."
        ),
    ],
    dataset: Annotated[str, typer.Argument(help="As for `profile`.")],
    *,
    data: Data = None,
    split: Annotated[Literal["train", "test"], typer.Option(help="Whose examples.")] = "train",
    network: Annotated[
        str | None,
        typer.Option(
            "--network",
            metavar="MODULE:CALLABLE",
            help="Your own network: a callable; its module takes pixels in [0, 1].",
            show_default=False,
        ),
    ] = None,
    measures: Annotated[
        str, typer.Option(metavar="NAMES", help="Which measures, separated by commas.")
    ] = "clean_probability,margin,el2n,minimum_perturbation",
    cap: Annotated[
        int, typer.Option(help="Largest perturbation tried, in 1/255.", min=1, max=254)
    ] = 32,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE.csv",
            help="Where to write; by default CHECKPOINT.scores.csv here.",
            show_default=False,
        ),
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Measure every example under one trained model, and write a table of them.

    In float32: the true-class probability and the margin on the clean image, EL2N, and
    the smallest radius at which I-FGSM changes the prediction; cap + 1 means more.

    Example: datacurate score nets/cifar10.run0.pt cifar10 --out scores.csv
    """
    from datacurate.data import load
    from datacurate.outputs import refuse_existing, write_text
    from datacurate.recipes import Execution
    from datacurate.training import devices
    from datacurate.training.measures import check_names, measure

    names = [name.strip() for name in measures.split(",") if name.strip()]
    check_names(names)
    target = out or Path(f"{checkpoint.stem}.scores.csv")
    refuse_existing(target, force)
    images = load(dataset, data, tell=console.note)
    part = images.train if split == "train" else images.test
    net = _network(checkpoint, network, part)
    execution = devices.resolve(Execution(dtype="float32"))
    with devices.deterministic(execution) as device:
        found = measure(
            net.to(device), part.images, part.labels, names, cap=cap, execution=execution
        )
    write_text(target, _table(part.labels, found))
    result: dict[str, Any] = {
        "file": str(target),
        "checkpoint": str(checkpoint),
        "examples": len(part),
        "split": split,
        "perturbation_cap": cap,
        "device": devices.describe(execution),
        "mean": {name: float(values.mean(dtype=float)) for name, values in found.items()},
    }
    if as_json:
        console.print_json(result)
        return
    for name, mean in result["mean"].items():
        console.say_out(f"{name:22} mean {mean:.4f}")
    console.say_out(
        f"{target}: {len(part):,} {split} examples of {part.identity.name}, {result['device']}"
    )


def _network(checkpoint: Path, network: str | None, part: ImageData) -> nn.Module:
    """Return the network, and raise if it is for other images."""
    import sys

    from datacurate.training.checkpoints import load_network, require_for
    from datacurate.training.user_networks import load_user_network

    if network is not None:
        # As with `python -m`, modules in the current directory are found.
        sys.path.insert(0, str(Path.cwd()))
        try:
            return load_user_network(checkpoint, network)
        finally:
            sys.path.remove(str(Path.cwd()))
    loaded = load_network(checkpoint)
    require_for(loaded, checkpoint, part.identity)
    return loaded.net


def _table(labels: npt.NDArray[np.int64], found: dict[str, Any]) -> str:
    """Return the scores as CSV. Nine digits represent a float32 exactly."""
    lines = [",".join(("row", "label", *found))]
    for row, (label, *values) in enumerate(zip(labels.tolist(), *found.values(), strict=True)):
        lines.append(",".join((str(row), str(label), *(f"{value:.9g}" for value in values))))
    return "\n".join(lines) + "\n"
