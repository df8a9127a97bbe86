"""Where texts come from: files, folders, and the Python standard library's own source."""

from __future__ import annotations

import sysconfig
from collections.abc import Sequence
from pathlib import Path

from statewise.errors import DataError

_ASIDE = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}
"""Folders of the standard library that hold no part of it, or nothing to learn from."""


def read_texts(paths: Sequence[str | Path] = ()) -> list[str]:
    """The texts of some files, one each; of every file with the ending of text in a folder.

    Arguments:
        paths: files and folders; none of them means the Python standard library's own source,
            which is there wherever this runs.

    Raises:
        DataError: a file that is not there, is empty or is no UTF-8 text.

    Example::

        texts = read_texts(["book.txt", "src/"])
    """
    files = [file for path in paths for file in _files(Path(path))] if paths else _library()
    texts = [read_text(file) for file in files]
    if not any(texts):
        named = ", ".join(map(str, paths)) or "the standard library"
        raise DataError(f"there is no text in {named}; give a file that holds some")
    return [text for text in texts if text]


def read_text(path: str | Path) -> str:
    """The text of a file, with line feeds as its line ends.

    Raises:
        DataError: no such file, or one that is no UTF-8 text.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    if b"\0" in data:
        raise DataError(f"{path} is no text: it holds zero bytes, as programs and pictures do")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8 text: byte {error.start} is 0x{data[error.start]:02x}; convert "
            f"it first, such as with iconv -t utf-8"
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    endings = {".txt", ".md", ".rst", ".py", ".c", ".h", ".cpp", ".js", ".html", ".tex"}
    found = sorted(p for p in path.rglob("*") if p.suffix in endings and p.is_file())
    if not found:
        raise DataError(
            f"no file in {path} ends in {', '.join(sorted(endings))}; name the files themselves"
        )
    return found


def _library() -> list[Path]:
    """The source files of the standard library, tests left aside."""
    root = Path(sysconfig.get_paths()["stdlib"])
    files = (
        file
        for file in sorted(root.rglob("*.py"))
        if not _ASIDE & set(file.relative_to(root).parts)
    )
    readable = [file for file in files if _is_text(file)]
    if not readable:
        raise DataError(f"the standard library in {root} is there without its source; name a file")
    return readable


def _is_text(path: Path) -> bool:
    """A few files of the standard library are in other encodings, on purpose."""
    try:
        return bool(path.read_bytes().decode("utf-8"))
    except (OSError, UnicodeDecodeError):
        return False
