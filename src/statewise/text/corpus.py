"""Where texts come from: files, folders, and the Python standard library's own source."""

from __future__ import annotations

import codecs
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from statewise.errors import DataError
from statewise.progress import Progress

_ENDINGS = {".txt", ".md", ".rst", ".py", ".c", ".h", ".cpp", ".js", ".html", ".tex"}
"""Of the files in a folder that are read."""

_SKIPPED = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}
"""Folders in the standard library's folder that are no part of it, or are tests."""


def read_texts(paths: Sequence[str | Path] = ()) -> list[str]:
    """The texts of files, one for each; of a folder, those of all files that end as text does.

    Arguments:
        paths: files and folders; without any, the source of the Python standard library.

    Raises:
        DataError: a file that does not exist, is empty or is no UTF-8 text.

    Example::

        texts = read_texts(["book.txt", "src/"])
    """
    with Progress("reading texts") as progress:
        files = [file for path in paths for file in _list_files(Path(path))]
        files = files if paths else _list_library()
        texts = []
        for done, file in enumerate(files, 1):
            texts.append(read_text(file))
            progress.update(done, note=f"{done} of {len(files)} files")
    if not any(texts):
        named = ", ".join(map(str, paths)) or "the standard library"
        raise DataError(f"there is no text in {named}; give a file that is not empty")
    return [text for text in texts if text]


def read_text(path: str | Path) -> str:
    """The text of a file, with line feeds as its line ends.

    Raises:
        DataError: a file that does not exist or is no UTF-8 text.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise DataError(
            f"{path} is UTF-16 text, and UTF-8 is expected; convert it first: "
            f"iconv -f utf-16 -t utf-8"
        )
    if b"\0" in data:
        raise DataError(
            f"{path} is no text: it has zero bytes, as programs and pictures do; give a text file"
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8 text: byte {error.start} is 0x{data[error.start]:02x}; convert "
            f"it first, from Latin-1 for example: iconv -f latin1 -t utf-8"
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _list_files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(p for p in path.rglob("*") if p.suffix in _ENDINGS and p.is_file())
    if not found:
        raise DataError(
            f"no file in {path} ends in {', '.join(sorted(_ENDINGS))}; name the files themselves"
        )
    return found


def _list_library() -> list[Path]:
    """The source files of the standard library, without its tests."""
    root = Path(sysconfig.get_paths()["stdlib"])
    files = (
        file
        for file in sorted(root.rglob("*.py"))
        if not _SKIPPED & set(file.relative_to(root).parts)
    )
    readable = [file for file in files if _is_text(file)]
    if not readable:
        raise DataError(f"the standard library in {root} has no source files; give a text file")
    return readable


def _is_text(path: Path) -> bool:
    """Whether a file is in UTF-8: a few of the standard library are not, on purpose."""
    try:
        return bool(path.read_bytes().decode("utf-8"))
    except (OSError, UnicodeDecodeError):
        return False
