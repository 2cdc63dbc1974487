"""The house rules that a program can check: sizes of functions, docstrings, names, imports."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType, ModuleType

import pytest
from numpydoc.docscrape import FunctionDoc

import datacurate

PACKAGE = Path(datacurate.__file__).parent
MOST_LINES, MOST_PARAMETERS = 60, 8
REASONS = ("more than eight", "more than sixty")
"""Words with which a docstring gives the reason for a larger function."""

REPLACED_NAMES = {
    "room", "parts", "windows", "reach", "fused", "adjoint", "replayed", "nearest", "steps",
    "requirements", "found", "made", "making", "together", "members", "claims", "steady",
    "plain_arrays", "taken_over", "budget", "shared", "worker", "utils", "helpers", "misc",
}  # fmt: skip
"""Names of modules that say nothing in the field's terms, or mean two things."""


def functions() -> Iterator[tuple[str, ast.FunctionDef]]:
    """Yield every function and method of the package with its place."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                yield f"{path.relative_to(PACKAGE)}:{node.lineno} {node.name}", node


def code_lines(function: ast.FunctionDef) -> int:
    """Return how many lines the body of a function has without its docstring."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    if not body:
        return 0
    return (body[-1].end_lineno or 0) - body[0].lineno + 1


def states_a_reason(function: ast.FunctionDef) -> bool:
    text = " ".join((ast.get_docstring(function) or "").split())
    return any(words in text for words in REASONS)


def is_command(function: ast.FunctionDef) -> bool:
    """Whether a function is a command: each of its parameters is an option."""
    return any(
        "Annotated[" in ast.unparse(a.annotation) for a in arguments(function) if a.annotation
    )


def arguments(function: ast.FunctionDef) -> list[ast.arg]:
    own = function.args
    return [
        a for a in (*own.posonlyargs, *own.args, *own.kwonlyargs) if a.arg not in ("self", "cls")
    ]


def test_functions_are_short() -> None:
    long = [place for place, node in functions() if code_lines(node) > MOST_LINES]
    assert not long


def test_functions_have_few_parameters() -> None:
    wide = [
        place
        for place, node in functions()
        if len(arguments(node)) > MOST_PARAMETERS
        and not states_a_reason(node)
        and not is_command(node)
    ]
    assert not wide


def test_no_module_has_a_name_that_was_replaced() -> None:
    names = {path.stem for path in PACKAGE.rglob("*.py")}
    assert not names & REPLACED_NAMES


def test_tests_lie_in_the_folders_of_the_package() -> None:
    ours = {path.name for path in PACKAGE.iterdir() if path.is_dir()}
    beside = {"bench", "contracts", "browser", "tools"}
    tests = Path(__file__).parents[1]
    folders = {path.name for path in tests.iterdir() if any(path.glob("*.py")) and path.is_dir()}
    assert folders - ours - beside == set()


def test_recipes_name_the_members_of_the_tables() -> None:
    """Recipes load no torch, so they cannot read these tables: a new member is added to both."""
    from typing import get_args

    from datacurate.formats.columns import KNOWN_COLUMNS, RUN_COLUMNS
    from datacurate.recipes.fields import Measure, MethodName, RankedColumn
    from datacurate.training.methods import METHODS

    assert set(get_args(MethodName)) == set(METHODS)
    assert set(get_args(RankedColumn)) <= set(RUN_COLUMNS)
    assert set(get_args(Measure)) - {"el2n"} <= set(get_args(RankedColumn)) <= set(KNOWN_COLUMNS)


def modules() -> Iterator[ModuleType]:
    for info in pkgutil.walk_packages([str(PACKAGE)], "datacurate."):
        if not info.name.endswith("__main__"):
            yield importlib.import_module(info.name)


def public_functions() -> Iterator[FunctionType]:
    """Yield the public functions and methods that the package defines."""
    for module in modules():
        for name, value in vars(module).items():
            if name.startswith("_") or getattr(value, "__module__", "") != module.__name__:
                continue
            if inspect.isfunction(value):
                yield value
            elif inspect.isclass(value):
                for inner, method in vars(value).items():
                    if not inner.startswith("_") and inspect.isfunction(method):
                        yield method


def test_docstrings_list_the_parameters_of_the_signature() -> None:
    """A docstring that lists parameters lists all of them, in order, and no others."""
    wrong = []
    for function in public_functions():
        if function.__module__.startswith("datacurate.cli."):
            continue  # their docstrings are the help; each option has its own
        documented = [
            name.strip().lstrip("*")
            for item in FunctionDoc(function)["Parameters"]
            for name in item.name.split(",")
        ]
        actual = [name for name in inspect.signature(function).parameters if name != "self"]
        if documented and documented != actual:
            wrong.append(f"{function.__module__}.{function.__qualname__}: {documented} / {actual}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "code",
    [
        "import datacurate",
        "import datacurate.cli.prune, datacurate.cli.show, datacurate.cli.profile",
        "import datacurate.publishing.card, datacurate.reports.figures",
    ],
)
def test_what_draws_renders_or_refers_loads_only_where_it_is_used(code: str) -> None:
    heavy = ("matplotlib", "jinja2", "pyautoattack", "torchvision")
    script = f"{code}; import sys; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
