"""The command line: a thin layer over the library, and the only place that prints.

torch, numpy and the numerical parts of the library are imported only when a command computes, so
that ``datacurate --help`` answers at once.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from datacurate.cli import console
from datacurate.cli.align import align
from datacurate.cli.apply import apply
from datacurate.cli.compare import compare
from datacurate.cli.demo import demo
from datacurate.cli.evaluate import evaluate
from datacurate.cli.fetch import fetch
from datacurate.cli.importing import import_file
from datacurate.cli.profile import profile
from datacurate.cli.prune import prune
from datacurate.cli.publish import publish
from datacurate.cli.score import score
from datacurate.cli.show import show
from datacurate.cli.verify import verify

app = typer.Typer(
    name="datacurate",
    help="Find, rank and prune the training images that are hard to learn under attack, "
    "and measure what pruning does.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # Plain help, because importing what draws boxes doubles the time of --help.
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from datacurate import __version__

        console.say_out(f"datacurate {__version__}")
        raise typer.Exit


@app.callback()
def everywhere(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", is_eager=True, callback=_print_version
        ),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error. Works anywhere.")
    ] = False,
) -> None:
    """Options before every command."""


for command in (
    profile,
    prune,
    align,
    apply,
    verify,
    evaluate,
    score,
    show,
    compare,
    demo,
    fetch,
    publish,
):
    app.command()(command)
app.command("import")(import_file)


def main() -> None:
    """Run the command line: errors become one message and an exit code."""
    arguments = sys.argv[1:]
    debug = "--debug" in arguments
    with console.errors_as_exit_codes(debug):
        app(args=[argument for argument in arguments if argument != "--debug"])
