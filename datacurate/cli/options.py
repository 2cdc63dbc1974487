"""Options that several commands share, each with one name and one meaning."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="Folder of the data set.", show_default=False),
]
Force = Annotated[bool, typer.Option("--force", help="Replace what exists.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]
RecipeName = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        metavar="NAME|FILE.toml",
        help="A complete configuration; by default `paper` on CUDA and `proxy` on a CPU.",
        show_default=False,
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change one field of the recipe, such as runs=3 or attack.radius=4/255. Repeatable.",
        show_default=False,
    ),
]
