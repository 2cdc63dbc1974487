"""The package from outside: a wheel in an empty environment, help that imports nothing large."""

from __future__ import annotations

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source tree without network."""
    target = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", target, ROOT],
        check=True,
        capture_output=True,
    )
    (built,) = target.glob("*.whl")
    return built


def test_the_wheel_holds_the_package_and_the_artifacts(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert "datacurate/cli/__init__.py" in names
    artifacts = {
        f"datacurate/_artifacts/{path.relative_to(ROOT / 'artifacts')}"
        for path in (ROOT / "artifacts").rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }
    assert artifacts <= set(names)
    for file in ("registry.toml", "digits/digits.ranks.h5", "digits/README.md"):
        assert f"datacurate/_artifacts/{file}" in artifacts
    others = ("tests", "shared", "artifacts", "tools")
    assert not [name for name in names if name.startswith(others)]


def test_the_wheel_gives_the_command(wheel: Path, tmp_path: Path) -> None:
    # The environment sees the dependencies of this one, but not this checkout.
    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env" / "bin" / "python"
    site = next((tmp_path / "env" / "lib").glob("python*")) / "site-packages"
    zipfile.ZipFile(wheel).extractall(site)
    dependencies = [p for p in sys.path if p.endswith("site-packages")]
    (site / "dependencies.pth").write_text("\n".join(dependencies))
    code = (
        "import datacurate, sys; from pathlib import Path\n"
        "assert Path(datacurate.__file__).is_relative_to(sys.prefix), datacurate.__file__\n"
        "from datacurate.cli import main; sys.argv = ['datacurate', 'profile', 'digits',"
        " '--recipe', 'smoke', '--set', 'width=4', '--set', 'epochs=1', '--set', 'runs=1']; main()"
    )
    done = subprocess.run(
        [python, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "digits.ranks.h5").exists()
    # The ranks that ship are those of the wheel.
    code = (
        "import sys; from datacurate.remote.artifacts import artifacts_directory\n"
        "assert artifacts_directory().is_relative_to(sys.prefix)\n"
        "from datacurate.cli import main; sys.argv = ['datacurate', 'fetch', 'digits', '--out',"
        " 'shipped.ranks.h5']; main()"
    )
    done = subprocess.run(
        [python, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    shipped = ROOT / "artifacts" / "digits" / "digits.ranks.h5"
    assert (tmp_path / "shipped.ranks.h5").read_bytes() == shipped.read_bytes()


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["profile", "--help"], ["verify", "--help"]]
)
def test_help_imports_nothing_large(arguments: list[str]) -> None:
    code = (
        f"import sys; sys.argv = ['datacurate', *{arguments!r}]\n"
        "from datacurate.cli import main\n"
        "try: main()\n"
        "except SystemExit as done: assert not done.code\n"
        "large = {'torch', 'numpy', 'scipy', 'h5py', 'pyarrow', 'sklearn'} & set(sys.modules)\n"
        "assert not large, large"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_command_has_help_with_an_example() -> None:
    listed = subprocess.run(
        [sys.executable, "-m", "datacurate", "--help"], capture_output=True, text=True, check=True
    ).stdout
    from datacurate.cli import app

    names = [info.name or info.callback.__name__ for info in app.registered_commands]  # type: ignore[union-attr]
    assert {"profile", "prune", "verify", "evaluate", "show", "demo"} <= set(names)
    for name in names:
        assert name in listed
        text = subprocess.run(
            [sys.executable, "-m", "datacurate", name, "--help"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert f"Example: datacurate {name}" in " ".join(text.split()), name


def test_public_names_are_there_and_lazy() -> None:
    import datacurate

    for name in datacurate.__all__:
        assert getattr(datacurate, name) is not None
    assert set(datacurate.__all__) == set(datacurate._HOMES)
    with pytest.raises(AttributeError, match="no attribute 'prof'"):
        datacurate.prof  # noqa: B018
    code = "import datacurate, sys; assert 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
