import time

import pytest

import statewise as sw
from statewise.text.corpus import read_text, read_texts


def test_files_and_folders_are_read(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone\r\ntwo\r")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "b.py").write_text("x = 1\n")
    (tmp_path / "c.bin").write_bytes(b"\0")
    (tmp_path / "empty.md").touch()
    assert read_texts([tmp_path]) == ["one\ntwo\n", "x = 1\n"]


def test_the_standard_library_is_there():
    texts = read_texts()
    assert sum(map(len, texts)) > 1_000_000
    assert any("class TestCase" in text for text in texts)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x7fELF\0\0", "is no text: it has zero bytes"),
        (b"caf\xe9", "not UTF-8 text: byte 3 is 0xe9"),
        ("café".encode("utf-16"), "is UTF-16 text, and UTF-8 is expected; convert it first: iconv"),
        (b"", "there is no text in"),
    ],
)
def test_what_is_no_text_is_refused(tmp_path, content, message):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(sw.DataError, match=message):
        read_texts([tmp_path / "a"])


def test_what_is_not_there_is_refused(tmp_path):
    with pytest.raises(sw.DataError, match="No such file"):
        read_text(tmp_path / "none")
    with pytest.raises(sw.DataError, match=r"no file in .* ends in"):
        read_texts([tmp_path])


def test_ten_megabytes_are_read_and_encoded_quickly(tmp_path):
    (tmp_path / "a.txt").write_text("a line of text, and another\n" * 400_000)
    start = time.perf_counter()
    text = read_text(tmp_path / "a.txt")
    vocabulary = sw.text.Vocabulary.of([text])
    assert vocabulary.decode(vocabulary.encode(text)[-8:]) == "another\n"
    assert time.perf_counter() - start < 10
