"""The pruned data set holds the kept images, in order, and nothing else was touched."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from datacurate import applying
from datacurate.data import DataSet, load
from datacurate.data.locate import locate
from datacurate.errors import DataError, DataMismatchError, OutputError, OutputExistsError
from datacurate.formats.indexfile import IndexFile
from datacurate.formats.provenance import Provenance
from datacurate.formats.rankfile import RankFile
from datacurate.pruning import prune
from datacurate.ranks import ranking

N = 40


def pictures(count: int, seed: int) -> np.ndarray:
    shape = (count, 9, 7, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def folders(root: Path, test: bool = True) -> Path:
    """Three classes, one of them with folders of its own below."""
    for split, count in (("train", N), ("val", 9)) if test else ((".", N),):
        for number, image in enumerate(pictures(count, len(split))):
            name = ("ant", "bee", "cat/deep/er")[number % 3]
            path = root / split / name / f"{number:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
    return root


def arrays(root: Path, test: bool = True) -> Path:
    root.mkdir()
    values: dict[str, Any] = {"images": pictures(N, 0), "labels": np.arange(N) % 3}
    if test:
        values |= {"test_images": pictures(9, 1), "test_labels": np.arange(9) % 3}
    np.savez(root / "made.npz", **values)
    return root


def chosen(data: DataSet, keep: int = 21, **options: Any) -> IndexFile:
    identity = data.train.identity
    score = np.random.default_rng(5).permutation(len(identity)) / len(identity)
    profiled = np.isin(np.arange(len(identity)), data.trainable)
    order = ranking.rank(score, identity.label_fingerprint, profiled=profiled)
    columns = {"problematic_rank": order.score, "position": order.position}
    ranks = RankFile(identity, columns, Provenance("import", "given", ()))
    return prune(ranks, keep, **options)


def applied(place: Path, out: Path, form: Any = None, **options: Any) -> tuple[DataSet, IndexFile]:
    data = load(str(place))
    index = chosen(data)
    applying.apply(index, data, locate(str(place)).layout, out, form=form, **options)
    return data, index


def assert_pruned(data: DataSet, index: IndexFile, out: Path) -> DataSet:
    back = load(str(out))
    for field in ("content_hash", "perceptual_hash", "labels"):
        before, after = getattr(data.train.identity, field), getattr(back.train.identity, field)
        assert np.array_equal(before[index.kept], after), field
    assert np.array_equal(data.test.images, back.test.images)
    assert np.array_equal(data.test.labels, back.test.labels)
    assert len(back.borrowed) == 0
    return back


@pytest.mark.parametrize("test", [True, False])
@pytest.mark.parametrize("make", [folders, arrays])
@pytest.mark.parametrize("form", ["folder", "parquet", "npz", None])
def test_every_form_of_every_layout(tmp_path: Path, make: Any, form: Any, test: bool) -> None:
    place = make(tmp_path / "data", test)
    if make is arrays and form == "folder":
        with pytest.raises(DataError, match="no files that could be linked"):
            applied(place, tmp_path / "out", form)
        assert sorted(p.name for p in tmp_path.iterdir()) == ["data"]
        return
    data, index = applied(place, tmp_path / "out", form)
    back = assert_pruned(data, index, tmp_path / "out")
    if form != "npz" and make is folders:
        assert back.train.identity.class_names == ("ant", "bee", "cat")
    said = (tmp_path / "out" / applying.MARK).read_text()
    assert '"kept": 21' in said
    assert str(tmp_path) not in said


def test_links_cost_no_space(tmp_path: Path) -> None:
    place = folders(tmp_path / "data")
    applied(place, tmp_path / "out")
    files = [path for path in (tmp_path / "out" / "train").rglob("*") if path.is_file()]
    assert len(files) == 21
    assert all(path.stat().st_nlink == 2 for path in files)


def test_links_where_hard_ones_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def other_file_system(*_: Any) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", other_file_system)
    monkeypatch.chdir(tmp_path)
    folders(tmp_path / "data")
    data, index = applied(Path("data"), Path("out"))
    assert_pruned(data, index, tmp_path / "out")
    assert all(p.is_symlink() for p in Path("out/train").rglob("*.png"))


def test_a_source_of_links_itself(tmp_path: Path) -> None:
    place = folders(tmp_path / "data")
    mirror = tmp_path / "elsewhere" / "mirror"
    for file in place.rglob("*.png"):
        link = mirror / file.relative_to(place)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(file, link.parent))
    data, index = applied(mirror, tmp_path / "out")
    assert_pruned(data, index, tmp_path / "out")


def test_torchvision_reads_the_folders(tmp_path: Path) -> None:
    from torchvision.datasets import ImageFolder

    data, index = applied(folders(tmp_path / "data"), tmp_path / "out")
    found = ImageFolder(str(tmp_path / "out" / "train"))
    assert [label for _, label in found.samples] == data.train.labels[index.kept].tolist()
    for (image, _), row in zip(found, index.kept.tolist(), strict=True):
        assert np.array_equal(np.asarray(image), data.train.images[row])


def test_a_class_without_an_image_would_shift_the_others(tmp_path: Path) -> None:
    place = folders(tmp_path / "data")
    data = load(str(place))
    kept = np.flatnonzero(data.train.labels != 1)
    index = dataclasses.replace(chosen(data), kept=kept)
    layout = locate(str(place)).layout
    with pytest.raises(DataError, match="no image of bee is kept"):
        applying.apply(index, data, layout, tmp_path / "out")
    applying.apply(index, data, layout, tmp_path / "out", form="npz")
    back = load(str(tmp_path / "out"))
    assert np.array_equal(back.train.labels, data.train.labels[kept])


def test_kept_examples_are_not_tested_on(tmp_path: Path) -> None:
    place = arrays(tmp_path / "data", test=False)
    data = load(str(place))
    assert len(data.borrowed)
    index = dataclasses.replace(chosen(data), kept=np.arange(N))
    applying.apply(index, data, locate(str(place)).layout, tmp_path / "out")
    with np.load(tmp_path / "out" / "data.npz") as archive:
        assert "test_images" not in archive.files
        assert len(archive["images"]) == N


def test_rows_of_other_data_are_refused(tmp_path: Path) -> None:
    place = arrays(tmp_path / "data")
    other = folders(tmp_path / "other")
    index = chosen(load(str(other)))
    with pytest.raises(DataMismatchError, match="were not made for this data"):
        applying.apply(
            index,
            load(str(place)),
            locate(str(place)).layout,
            tmp_path / "out",
            name="the rows in idx.npy",
        )
    assert not (tmp_path / "out").exists()


def test_what_exists_is_kept(tmp_path: Path) -> None:
    place = arrays(tmp_path / "data")
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.tex").write_text("years")
    for force in (False, True):
        with pytest.raises(OutputExistsError):
            applied(place, precious, force=force)
    assert [p.name for p in precious.iterdir()] == ["thesis.tex"]
    applied(place, tmp_path / "out")
    with pytest.raises(OutputExistsError, match="--force"):
        applied(place, tmp_path / "out")
    data, index = applied(place, tmp_path / "out", "parquet", force=True)
    assert_pruned(data, index, tmp_path / "out")
    with pytest.raises(OutputError, match="no directory"):
        applied(place, tmp_path / "absent" / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data", "out", "precious"]


def test_a_failure_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = arrays(tmp_path / "data")
    applied(place, tmp_path / "out")
    before = (tmp_path / "out" / "data.npz").read_bytes()

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OutputError, match="No space left"):
        applied(place, tmp_path / "out", force=True)
    assert (tmp_path / "out" / "data.npz").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data", "out"]


@pytest.mark.real_data
def test_tiny_imagenet_as_its_makers_pack_it(shared_data: Path, tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(shared_data / "tiny-imagenet-mini.zip") as archive:
        archive.extractall(tmp_path / "data")
    data = load("tiny-imagenet", tmp_path / "data")
    index = chosen(data, 1500, floor="10")
    layout = locate("tiny-imagenet", tmp_path / "data").layout
    assert applying.apply(index, data, layout, tmp_path / "out")[0] == "folder"
    assert_pruned(data, index, tmp_path / "out")
