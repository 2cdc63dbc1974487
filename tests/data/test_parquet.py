"""Parquet files in the Hub's schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datacurate.data import ImageData, OfficialStatus, load, load_train, official_status
from datacurate.errors import DataError
from tests.data.data_files import encoded, noise

IMAGES = noise(12, 8)
LABELS = [0, 1, 2] * 4


def write(
    path: Path,
    images: np.ndarray = IMAGES,
    labels: list[Any] = LABELS,
    *,
    image: str = "image",
    label: str = "label",
    names: list[str] | None = None,
    form: str = "PNG",
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        {"bytes": encoded(pixels, form), "path": f"{row}.png"} for row, pixels in enumerate(images)
    ]
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns = {
        image: pa.array(rows, struct),
        label: pa.array(labels, None if labels else pa.int64()),
    }
    features: dict[str, Any] = {image: {"_type": "Image"}}
    features[label] = {"_type": "ClassLabel", "names": names} if names else {"dtype": "int64"}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), path)
    return path


@pytest.mark.real_data
def test_cifar10_has_the_official_fingerprints(cifar10_train: ImageData) -> None:
    assert cifar10_train.images.shape == (50_000, 32, 32, 3)
    assert official_status(cifar10_train.identity)[0] is OfficialStatus.OFFICIAL
    assert cifar10_train.identity.label_fingerprint == (
        "2b7cd2f24487317614016b72ffd53071c3062f592f0eb300c18a770d41ae1253"
    )
    assert cifar10_train.identity.pixel_fingerprint == (
        "47af8b02cfcfb6cdf3dbbd1969ad7f1b70f4413f6f80f437b020ee4e5bc8304a"
    )
    assert np.bincount(cifar10_train.labels).tolist() == [5000] * 10


@pytest.mark.real_data
def test_a_part_of_cifar100_is_loaded_and_known_to_be_a_part(shared_data: Path) -> None:
    data = load("cifar100", shared_data / "cifar100-part")
    assert data.train.identity.class_names[19] == "cattle"  # official example 0 is one
    assert data.train.labels[0] == 19
    for split, size in (
        (data.train, "10,000 examples instead of 50,000"),
        (data.test, "2,000 examples instead of 10,000"),
    ):
        status, sentence = official_status(split.identity)
        assert status is OfficialStatus.DIFFERENT
        assert size in sentence


@pytest.mark.real_data
def test_a_copy_without_test_split_borrows_one(shared_data: Path) -> None:
    data = load("cifar10", shared_data / "cifar10-jpeg-first5000")
    assert official_status(data.train.identity)[0] is OfficialStatus.DIFFERENT
    assert 490 <= len(data.borrowed) <= 510
    assert np.array_equal(data.test.images, data.train.images[data.borrowed])


@pytest.mark.real_data
def test_the_wrong_data_set_is_refused_before_any_image_is_read(
    shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datacurate.data.parquet.decode_images", None)
    with pytest.raises(DataError, match="does not hold CIFAR-10") as caught:
        load("cifar10", shared_data / "cifar100-part")
    assert "100 classes: apple" in (caught.value.got or "")
    with pytest.raises(DataError, match="does not hold Tiny-ImageNet"):
        load("tiny-imagenet", shared_data / "cifar100-part")


def test_shards_splits_and_names(tmp_path: Path) -> None:
    names = ["cat", "dog", "emu"]
    for shard in range(3):
        rows = slice(4 * shard, 4 * shard + 4)
        write(
            tmp_path / f"train-0000{shard}-of-00003.parquet",
            IMAGES[rows],
            LABELS[rows],
            names=names,
        )
    write(tmp_path / "test-00000-of-00001.parquet", IMAGES[:2], LABELS[:2], names=names)
    data = load(str(tmp_path))
    assert np.array_equal(data.train.images, IMAGES)
    assert data.train.labels.tolist() == LABELS
    assert data.train.identity.class_names == ("cat", "dog", "emu")
    assert data.train.identity.name == tmp_path.name
    assert len(data.test) == 2
    assert data.train.source == {"layout": "parquet", "location": str(tmp_path)}
    (tmp_path / "train-00001-of-00003.parquet").unlink()
    with pytest.raises(DataError, match="shards of the data set are missing"):
        load(str(tmp_path))


@pytest.mark.parametrize("test", ["test", "validation", "valid", "val"])
def test_names_of_test_splits(tmp_path: Path, test: str) -> None:
    write(tmp_path / "data" / "train-00000-of-00001.parquet")
    write(tmp_path / "data" / f"{test}-00000-of-00001.parquet", IMAGES[:3], LABELS[:3])
    assert len(load(str(tmp_path)).test) == 3


def test_splits_as_folders(tmp_path: Path) -> None:
    write(tmp_path / "train" / "0000.parquet")
    write(tmp_path / "test" / "0000.parquet", IMAGES[:3], LABELS[:3])
    data = load(str(tmp_path))
    assert (len(data.train), len(data.test)) == (12, 3)


def test_a_test_split_without_labels_is_skipped(tmp_path: Path) -> None:
    write(tmp_path / "train.parquet")
    write(tmp_path / "test.parquet", IMAGES[:5], [-1] * 5)
    write(tmp_path / "validation.parquet", IMAGES[:3], LABELS[:3])
    assert len(load(str(tmp_path)).test) == 3


def test_one_file_is_training_data(tmp_path: Path) -> None:
    path = write(tmp_path / "some.parquet", form="WEBP", label="fine_label", image="img")
    data = load(str(path))
    assert data.train.identity.name == "some"
    assert data.train.identity.class_names == ("0", "1", "2")
    assert len(data.borrowed) == 3


def test_columns_are_found_by_structure_and_features(tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet", image="picture", label="kind", names=["a", "b", "c"])
    assert load_train(str(path)).labels.tolist() == LABELS
    table = pq.read_table(path).replace_schema_metadata({"huggingface": "not json"})
    pq.write_table(table, path)
    with pytest.raises(DataError, match="no label column") as caught:
        load_train(str(path))
    assert "kind: int64" in (caught.value.got or "")
    pq.write_table(table.rename_columns(["picture", "label"]), path)
    assert load_train(str(path)).labels.tolist() == LABELS
    pq.write_table(table.select(["kind"]).rename_columns(["label"]), path)
    with pytest.raises(DataError, match="no image column"):
        load_train(str(path))


def test_damaged_rows_are_named(tmp_path: Path) -> None:
    first = write(tmp_path / "train-00000-of-00002.parquet")
    second = write(tmp_path / "train-00001-of-00002.parquet")
    table = pq.read_table(second)
    rows = table["image"].to_pylist()
    rows[4]["bytes"] = rows[4]["bytes"][:60]
    broken = table.set_column(0, "image", pa.array(rows, table.schema.field(0).type))
    pq.write_table(broken, second)
    with pytest.raises(DataError, match=rf"row 4 of {second} cannot be decoded"):
        load_train(str(tmp_path))
    rows[4]["bytes"] = None
    pq.write_table(table.set_column(0, "image", pa.array(rows, table.schema.field(0).type)), second)
    with pytest.raises(DataError, match=rf"row 4 of {second} holds no image bytes"):
        load_train(str(tmp_path))
    first.write_bytes(first.read_bytes()[:-100])
    with pytest.raises(DataError, match=rf"{first} cannot be read as parquet"):
        load_train(str(tmp_path))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1, None] * 4, "4 rows without a label"),
        ([-1, 0, 1] * 4, "are out of range"),
        ([0, 2, 3] * 4, "no example of class 1 although it has class 2"),
        ([0] * 12, "a single class"),
        ([0.5] * 12, "no label column"),
        (["cat"] * 12, "no label column"),
    ],
)
def test_invalid_labels_are_refused(tmp_path: Path, labels: list[Any], message: str) -> None:
    path = write(tmp_path / "x.parquet", labels=labels)
    with pytest.raises(DataError, match=message):
        load_train(str(path))


def test_labels_beyond_the_named_classes(tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet", names=["a", "b"])
    with pytest.raises(DataError, match=r"4 labels .* are out of range") as caught:
        load_train(str(path))
    assert caught.value.got == "2 in row 2"


def test_a_class_may_be_absent_where_classes_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet", labels=[0, 2, 3] * 4, names=["a", "b", "c", "d"])
    assert load_train(str(path)).identity.classes == 4


def test_empty_and_unclear_directories(tmp_path: Path) -> None:
    write(tmp_path / "test.parquet")
    with pytest.raises(DataError, match="no training split"):
        load_train(str(tmp_path))
    write(tmp_path / "train.parquet", IMAGES[:0], [])
    with pytest.raises(DataError, match="no rows"):
        load_train(str(tmp_path))
    write(tmp_path / "stray.parquet")
    with pytest.raises(DataError, match=r"stray\.parquet gives no split"):
        load_train(str(tmp_path))
    for folder in ("one", "two"):
        write(tmp_path / "several" / folder / "train.parquet")
    with pytest.raises(DataError, match="several folders"):
        load_train(str(tmp_path / "several"))
