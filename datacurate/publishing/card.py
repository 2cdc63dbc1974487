"""Write the data set card of published ranks from the content of the rank file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datacurate.formats.columns import KNOWN_COLUMNS
from datacurate.formats.rankfile import RankFile, file_columns
from datacurate.remote import hub
from datacurate.reports.figures import TOP, top_shares

CITATION = """\
@misc{dong2021data,
  title  = {Data Profiling for Adversarial Training: On the Ruin of Problematic Data},
  author = {Chengyu Dong and Liyuan Liu and Jingbo Shang},
  year   = {2021},
  eprint = {2102.07437},
  archivePrefix = {arXiv},
  note   = {Later versions: Data Quality Matters for Adversarial Training}
}"""

_SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"))
_TEMPLATE = Path(__file__).with_name("card.md.jinja")
_MOST_CLASSES = 10


def card(
    ranks: RankFile,
    repository: str | None,
    name: str,
    *,
    pictures: Mapping[str, str],
    agreement: Sequence[str],
    lists: Mapping[str, str] | None = None,
    licence: str | None = None,
) -> str:
    """Return the text of the card: YAML for the Hub, then Markdown for people.

    Parameters
    ----------
    ranks : RankFile
        The content of the published file.
    repository : str or None
        ``owner/name``; None for ranks that come with the package.
    name : str
        The file is ``NAME.ranks.h5``.
    pictures : mapping of str to str
        Caption of each picture by its path.
    agreement : sequence of str
        Sentences about the agreement of the ranks.
    lists : mapping of str to str, optional
        Description of each index list beside the ranks by its path.
    licence : str, optional
        Licence identifier of the Hub, such as ``"cc-by-4.0"``.
    """
    import jinja2  # slow to import

    identity, file = ranks.identity, f"{name}.ranks.h5"
    metadata: dict[str, Any] = {
        "pretty_name": title(ranks),
        "tags": ["datacurate", "adversarial-robustness", "data-pruning"],
        "size_categories": [_size(len(ranks))],
        # Without it the Hub takes the pictures for the data.
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": identity.split, "path": file}],
            }
        ],
    }
    if licence is not None:
        metadata["license"] = licence
    # The page is Markdown, so HTML escaping is off; `_cell` escapes text that comes from files.
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    environment.filters["cell"] = _cell
    recipe = ranks.provenance.recipe
    body = environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        title=title(ranks),
        examples=f"{len(ranks):,}",
        dataset=identity.name,
        split=identity.split,
        name=name,
        repository=repository,
        file=file,
        columns=_columns(ranks),
        facts=_facts(ranks),
        recipe="" if recipe is None else json.dumps(dict(recipe), indent=2, sort_keys=True),
        runs=[_run(run) for run in ranks.provenance.runs],
        classes=_classes(ranks),
        top=f"{TOP:.0%}",
        agreement=agreement,
        lists=list((lists or {}).items()),
        pictures=list(pictures.items()),
        citation=CITATION,
        content_sha256=ranks.content_sha256,
    )
    return hub.dataset_card(metadata, body)


def title(ranks: RankFile) -> str:
    """Return the title of the ranks."""
    return f"Problematic ranks of {ranks.identity.name} ({ranks.identity.split})"


def _size(examples: int) -> str:
    return next((name for most, name in _SIZES if examples < most), "n>1M")


def _cell(text: object) -> str:
    """Return a text as one table cell: on one line, without HTML and column separators."""
    replaced = str(text).replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")
    return " ".join(replaced.split())


def _columns(ranks: RankFile) -> list[dict[str, str]]:
    rows = []
    for name, values in file_columns(ranks).items():
        known = KNOWN_COLUMNS.get(name)
        axes = known.axes if known else tuple(map(str, values.shape))
        rows.append(
            {
                "name": name,
                "dtype": str(values.dtype),
                "shape": f"({', '.join(axes)}{',' * (len(axes) == 1)})",
                "problematic": known.problematic if known else "not stated",
                "meaning": known.meaning if known else "a column of a later version",
            }
        )
    return rows


def _facts(ranks: RankFile) -> list[tuple[str, str]]:
    """Return pairs of heading and text about the origin of the ranks."""
    identity, provenance = ranks.identity, ranks.provenance
    recipe = provenance.recipe or {}
    facts = [
        ("kind", provenance.kind),
        ("recipe", f"{recipe.get('name', '?')} ({provenance.recipe_hash})" if recipe else ""),
        ("runs", str(ranks.runs) if ranks.runs else ""),
        ("aggregation", provenance.aggregation),
        ("ranked by", ", ".join(provenance.rank_by) if provenance.of_runs else ""),
        ("ranked examples", f"{int(ranks.profiled.sum()):,} of {len(ranks):,}"),
        ("classes", f"{identity.classes}"),
        ("label fingerprint", identity.label_fingerprint),
        ("pixel fingerprint", identity.pixel_fingerprint or "made without images"),
        ("created", provenance.created),
        # The choice of kernels stays in the file.
        *(
            (f"environment: {k}", str(v))
            for k, v in provenance.environment.items()
            if not isinstance(v, Mapping)
        ),
        *((f"source: {k}", str(v)) for k, v in provenance.source.items()),
        *((f"made from {p.get('name')}", f"sha256 {p.get('sha256')}") for p in provenance.parents),
    ]
    return [(key, value) for key, value in facts if value]


def _run(run: Mapping[str, Any]) -> dict[str, str]:
    def text(key: str, form: str = "{}", scale: float = 1) -> str:
        value = run.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return ""
        return form.format(value * scale if scale != 1 else value)

    return {
        "seed": text("seed"),
        "epochs": text("epochs"),
        "best_epoch": text("best_epoch"),
        "clean": text("clean_accuracy", "{:.2%}"),
        "robust": text("robust_accuracy", "{:.2%}"),
        "minutes": text("seconds", "{:.1f}", 1 / 60),
    }


def _classes(ranks: RankFile) -> list[dict[str, str]]:
    if not ranks.identity.labelled:
        return []
    return [
        {"name": name, "examples": f"{size:,}", "top": f"{top:,}", "share": f"{top / size:.1%}"}
        for name, size, top in top_shares(ranks)[:_MOST_CLASSES]
    ]
