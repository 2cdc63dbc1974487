"""Data sets on the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path

from datacurate.errors import FetchError


def dataset_snapshot(
    repository: str, *, revision: str | None = None, folder: Path | None = None
) -> Path:
    """Download the parquet files of a data set repository.

    Parameters
    ----------
    repository : str
        ``owner/name``.
    revision : str, optional
        A branch, tag or commit; the default branch if not given.
    folder : Path, optional
        Where to put the files; the Hub's own cache if not given, from which they are also taken
        when there is no network.

    Returns
    -------
    Path
        The folder that holds them.

    Raises
    ------
    FetchError
        If there is no such repository or revision, no access to it, or no network.
    """
    import huggingface_hub  # slow to import, and needed for nothing else here

    try:
        place = huggingface_hub.snapshot_download(
            repository,
            repo_type="dataset",
            revision=revision,
            local_dir=folder,
            allow_patterns="*.parquet",
        )
    except Exception as error:  # its transport's errors share no base class with its own
        lines = str(error).strip().splitlines()
        raise FetchError(
            f"the data set {repository} could not be downloaded from the Hub: "
            f"{lines[0] if lines else type(error).__name__}",
            hint="check its name, whether you are logged in to the Hub, and the network",
        ) from error
    return Path(str(place))
