"""Where the well-known data sets are found, or downloaded from."""

import hashlib
import os
import tempfile
import urllib.request
from collections.abc import Callable, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

from distopt.errors import DataError

Found = TypeVar("Found")
TIMEOUT = 20  # seconds without data before the next mirror is tried


class Source(NamedTuple):
    """SHA-256 of each file to download, addresses of the folders that hold them, folders of system packages.

    Without addresses nothing is downloaded: the files come with Debian's `package`.
    """

    files: Mapping[str, str]
    mirrors: tuple[str, ...]
    system: tuple[Path, ...] = ()
    package: str | None = None


SOURCES = {
    "mnist": Source(
        {
            "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        },
        (
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
    ),
    "fashion_mnist": Source(
        {
            "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        },
        (
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
        ),
        (Path("/usr/share/datasets/fashion-mnist"),),
        "dataset-fashion-mnist",
    ),
    "cifar10": Source(
        {"cifar-10-binary.tar.gz": "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"},
        (
            "https://www.cs.toronto.edu/~kriz/",
            "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10/",
        ),
    ),
    "austen": Source(
        dict.fromkeys(("Rdata.rdx", "Rdata.rdb"), ""),
        (),
        (Path("/usr/lib/R/site-library/janeaustenr/data"),),
        "r-cran-janeaustenr",
    ),
}


def cache(name: str) -> Path:
    """Return the folder for downloads of a data set: $XDG_CACHE_HOME or ~/.cache, then distopt/NAME."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "distopt" / name


def folders(name: str, root: str | None) -> list[Path]:
    """Return the folders in which a data set is searched, in this order.

    With `root`, only `root` and its subfolder NAME: a mistyped folder must not lead to other data. Otherwise
    $DISTOPT_DATA/NAME, $DISTOPT_DATA itself, the cache, the folders of system packages.
    """
    if root is not None:
        chosen = Path(os.path.expanduser(root))  # unlike Path.expanduser it does not fail on an unknown user
        return [chosen, chosen / name]
    shared = os.environ.get("DISTOPT_DATA")
    chosen_by_environment = [Path(shared) / name, Path(shared)] if shared else []
    return [*chosen_by_environment, cache(name), *SOURCES[name].system]


def find(name: str, root: str | None, pick: Callable[[Path], Found | None]) -> Found | None:
    """Return the result of `pick` for the first folder in which it recognises the data set's files, or None."""
    return next((files for folder in folders(name, root) if (files := pick(folder)) is not None), None)


def obtain(settings: Mapping[str, Any], pick: Callable[[Path], Found | None]) -> Found:
    """Return the result of `pick` for the data set's files on this machine; download them if needed and allowed.

    Raises:
        DataError: the files are not found, and downloading is off or failed.
    """
    name, root = settings["name"], settings.get("root")
    files = find(name, root, pick)
    if files is None and root is None and SOURCES[name].mirrors and settings.get("download", True):
        download(name)
        files = pick(cache(name))
    if files is None:
        raise DataError(f"dataset.name={name}: {_missing(name, root)}")
    return files


def _missing(name: str, root: str | None) -> str:
    """Say which files are expected, which folders were searched, and what to do."""
    places = " or ".join(map(str, folders(name, root)))
    way_out = "put them there or leave dataset.root=null" if root else "set dataset.root to a folder that holds them"
    if package := SOURCES[name].package:
        way_out += f", or install Debian's {package}"
    return f"expected {', '.join(SOURCES[name].files)} in {places}; {way_out}"


def download(name: str) -> None:
    """Download the files of a data set that the cache lacks.

    Raises:
        DataError: no mirror could be reached or had the right file; the message has the answer of each.
    """
    source = SOURCES[name]
    for file, digest in source.files.items():
        target = cache(name) / file
        failures: list[str] = []
        while not target.exists():
            if len(failures) == len(source.mirrors):
                reasons = "; ".join(failures)
                raise DataError(f"dataset.name={name}: download failed ({reasons})\n{_missing(name, None)}")
            url = source.mirrors[len(failures)] + file
            try:
                _fetch(url, digest, target)
            except (OSError, HTTPException, DataError) as error:
                failures.append(f"{urlsplit(url).netloc}: {error}")


def _fetch(url: str, digest: str, target: Path) -> None:
    """Copy a file from the network; it appears under its name only when its SHA-256 is right."""
    target.parent.mkdir(parents=True, exist_ok=True)
    checksum = hashlib.sha256()
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        partial = Path(folder) / target.name
        with urllib.request.urlopen(url, timeout=TIMEOUT) as response, partial.open("wb") as file:
            while block := response.read(1 << 20):
                checksum.update(block)
                file.write(block)
        if checksum.hexdigest() != digest:
            raise DataError(f"wrong SHA-256 {checksum.hexdigest()}")
        os.replace(partial, target)
