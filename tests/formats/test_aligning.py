"""Ranks find their images again, whatever order those are in."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datacurate.data import ImageData
from datacurate.errors import DataMismatchError, FileError
from datacurate.fingerprints import label_fingerprint
from datacurate.formats import rankfile
from datacurate.formats.aligning import Alignment, align
from datacurate.formats.checking import check
from datacurate.formats.rankfile import RankFile
from datacurate.identity import Identity, Relation, identify, relate
from datacurate.importers.upstream import read_upstream
from datacurate.pruning import prune
from tests.made_ranks import CLASSES, made_identity, made_rank_file

PARENT = {"name": "made.ranks.h5", "sha256": "0" * 64}


def taken(identity: Identity, rows: Any, labels: Any = None) -> Identity:
    """Some rows of a data set, in that order."""
    rows = np.asarray(rows)
    labels = identity.labels[rows] if labels is None else np.asarray(labels)
    assert identity.content_hash is not None
    assert identity.perceptual_hash is not None
    return dataclasses.replace(
        identity,
        labels=labels,
        label_fingerprint=label_fingerprint(labels),
        pixel_fingerprint="another",
        content_hash=identity.content_hash[rows],
        perceptual_hash=identity.perceptual_hash[rows],
    )


def aligned(ranks: RankFile, data: Identity) -> Alignment:
    return align(ranks, data, PARENT, {"layout": "made", "location": "there"})


@settings(max_examples=30, deadline=None)
@given(order=st.permutations(range(60)))
def test_a_shuffle_is_undone(order: list[int]) -> None:
    made = made_rank_file(profiled=np.arange(5, 60))
    data = taken(made.identity, order)
    found = aligned(made, data)
    moved = sum(row != place for place, row in enumerate(order))
    assert found.counts == {
        "moved": moved,
        "duplicates": 0,
        "surplus": 0,
        "relabelled": 0,
        "missing": 0,
        "foreign": 0,
    }
    ranks = found.rank_file
    for name, values in made.columns.items():
        if name != "position":
            assert np.array_equal(
                ranks.columns[name], values[order], equal_nan=values.dtype.kind == "f"
            )
    assert relate(ranks.identity, data).relation is Relation.SAME


def test_every_check_of_the_result_holds(tmp_path: Any) -> None:
    made = made_rank_file()
    order = np.random.default_rng(0).permutation(60)
    for rows in (order, order[:50], np.concatenate([order, order[:9]])):
        found = aligned(made, taken(made.identity, rows)).rank_file
        rankfile.write(tmp_path / "a", found, force=True)
        assert [item.name for item in check(tmp_path / "a") if not item.ok] == []
        back = rankfile.read(tmp_path / "a").provenance
        assert back.parents == (PARENT,)
        assert back.kind == "align"
        assert back.source["aligned_to"] == {"layout": "made", "location": "there"}
        assert back.source["layout"] == "made"  # of the ranks
        assert back.aggregation == ("mean-rank" if len(rows) == 60 else "given")


def test_missing_and_foreign_images() -> None:
    made = made_rank_file()
    stranger = made_identity(4, seed=9)
    assert stranger.content_hash is not None
    data = taken(made.identity, np.arange(59, 9, -1))
    assert data.content_hash is not None
    hashes = data.content_hash.copy()
    hashes[[0, 3]] = stranger.content_hash[:2]
    found = aligned(made, dataclasses.replace(data, content_hash=hashes))
    assert (found.missing, found.foreign) == (12, 2)
    ranks = found.rank_file
    assert np.flatnonzero(~ranks.profiled).tolist() == [0, 3]
    assert np.isnan(ranks.columns["problematic_rank"][[0, 3]]).all()
    assert (ranks.columns["first_learned"][[0, 3]] == -2).all()
    # What nobody ranked is not kept.
    assert not {0, 3} & set(prune(ranks, 48).kept.tolist())


def test_copies_are_paired_in_order() -> None:
    made = made_rank_file()
    ranked = taken(made.identity, [0, *range(60)][:60])  # rows 0 and 1 hold the same image
    made = dataclasses.replace(made, identity=ranked)
    rank = made.columns["problematic_rank"]
    data = taken(ranked, [5, 1, 7, 0, 1])  # three copies of it, of which two were ranked
    found = aligned(made, data)
    assert (found.duplicates, found.surplus, found.foreign) == (3, 1, 0)
    expected = [rank[5], rank[0], rank[7], rank[1], rank[1]]
    assert found.rank_file.columns["problematic_rank"].tolist() == expected


def test_copies_of_different_labels_keep_their_own() -> None:
    made = made_rank_file()
    labels = made.identity.labels.copy()
    labels[:2] = [0, 1]
    ranked = taken(made.identity, [0, 0, *range(2, 60)], labels)
    made = dataclasses.replace(made, identity=ranked)
    rank = made.columns["problematic_rank"]
    found = aligned(made, taken(ranked, [1, 0, 9], [1, 0, labels[9]]))
    assert found.rank_file.columns["problematic_rank"].tolist() == [rank[1], rank[0], rank[9]]
    assert found.relabelled == 0
    # Under a label that no copy was ranked with, it is that of the first.
    found = aligned(made, taken(ranked, [1, 9], [2, labels[9]]))
    assert found.rank_file.columns["problematic_rank"].tolist() == [rank[0], rank[9]]
    assert found.relabelled == 1


def test_what_cannot_be_aligned() -> None:
    with pytest.raises(FileError, match="has no hashes"):
        aligned(made_rank_file(images=False), made_identity())
    with pytest.raises(DataMismatchError, match="no image of this data"):
        aligned(made_rank_file(), made_identity(seed=5))


def test_ranks_by_a_column_still_say_their_direction(tmp_path: Any) -> None:
    from datacurate.importing import import_ranks

    np.save(tmp_path / "s.npy", np.random.default_rng(0).random(60))
    made = import_ranks(tmp_path / "s.npy", "scores", made_identity(), direction="low")
    found = aligned(made, taken(made.identity, np.arange(60)[::-1])).rank_file
    rankfile.write(tmp_path / "a", found)
    assert [item.name for item in check(tmp_path / "a") if not item.ok] == []
    assert found.columns["position"].tolist() == made.columns["position"][::-1].tolist()
    assert prune(found, 9, by="score").selection["direction"] == "low"


@pytest.mark.real_data
def test_real_images_shuffled_within_their_classes(
    upstream_npy: Any, cifar10_train: ImageData
) -> None:
    """Labels stay as they were, so nothing but the pixels tells; copies there are none."""
    images, labels = cifar10_train.images, cifar10_train.labels
    chance = np.random.default_rng(0)
    by_class = np.argsort(labels, kind="stable")
    order = np.empty(len(labels), dtype=np.int64)
    order[by_class] = np.lexsort((chance.random(len(labels)), labels))
    shuffled = identify("cifar10", "train", images[order], labels[order], CLASSES * 4)
    ranks = read_upstream(upstream_npy, cifar10_train.identity, {})
    assert np.array_equal(shuffled.labels, labels)
    assert relate(ranks.identity, shuffled).relation is Relation.REORDERED
    found = aligned(ranks, shuffled)
    assert (found.missing, found.foreign, found.duplicates, found.surplus) == (0, 0, 0, 0)
    expected = np.load(upstream_npy)[order]
    assert np.array_equal(found.rank_file.columns["problematic_rank"], expected)
    assert np.array_equal(found.rank_file.columns["position"], np.rint(expected * 50_000))
