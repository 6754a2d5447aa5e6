"""Unpacking from file to file: whole, bounded in bytes, streams, time and memory, whatever falls on a chunk's edge."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import random
import resource
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fwfeed.errors import ExitCode, FwfeedError
from fwfeed.fetch import packing
from fwfeed.fetch.packing import Digests, digest, split_packing, unpack
from fwfeed.fetch.parts import Buffer, FileSink
from tests.unit.builders import JAPAN, delegated

RAW = delegated("apnic", JAPAN)
MIB = 1 << 20
# what cannot be packed, so that the packed file is longer than a chunk too
NOISE = random.Random(0).randbytes(5 * MIB // 2)

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": lambda raw: gzip.compress(raw, 1),
    ".bz2": bz2.compress,
    ".xz": lambda raw: lzma.compress(raw, preset=0),
}
suffixes = pytest.mark.parametrize("suffix", PACKERS)


def unpacked(packed: bytes, suffix: str, cap: int = 8 * MIB) -> bytes:
    to = Buffer()
    digests = unpack(io.BytesIO(packed), suffix, to, cap)
    raw = to.content
    assert digests == Digests(size=len(raw), md5=hashlib.md5(raw).hexdigest(), sha256=hashlib.sha256(raw).hexdigest())
    return raw


def refusal_of(packed: bytes, suffix: str, cap: int = 8 * MIB) -> str:
    with pytest.raises(ValueError, match=r".") as caught:
        unpack(io.BytesIO(packed), suffix, Buffer(), cap)
    assert type(caught.value) is ValueError
    return str(caught.value)


@suffixes
def test_a_file_is_unpacked(suffix: str) -> None:
    assert unpacked(PACKERS[suffix](RAW), suffix) == RAW


def test_without_a_suffix_a_file_is_copied() -> None:
    assert unpacked(RAW, "") == RAW
    assert unpacked(b"", "") == b""
    assert unpacked(NOISE, "") == NOISE
    assert unpacked(bytes(MIB), "", MIB) == bytes(MIB)
    assert refusal_of(bytes(MIB + 1), "", MIB) == "more than 1 MiB when unpacked"


@suffixes
@pytest.mark.parametrize("size", [MIB - 1, MIB, MIB + 1, 2 * MIB, 3 * MIB])
@pytest.mark.parametrize("kind", ["noise", "zeros"])
def test_a_file_of_about_a_chunk_or_more_is_unpacked(suffix: str, size: int, kind: str) -> None:
    raw = (NOISE * 2)[:size] if kind == "noise" else bytes(size)
    assert unpacked(PACKERS[suffix](raw), suffix) == raw


@suffixes
def test_concatenated_streams_are_one_file(suffix: str) -> None:
    pack = PACKERS[suffix]
    assert unpacked(pack(RAW[:50]) + pack(b"") + pack(RAW[50:]), suffix) == RAW


@suffixes
def test_concatenated_streams_that_are_each_longer_than_a_chunk_are_one_file(suffix: str) -> None:
    packed = PACKERS[suffix](NOISE)
    assert len(packed) > 2 * MIB
    assert unpacked(packed + PACKERS[suffix](bytes(2 * MIB)) + packed, suffix) == NOISE + bytes(2 * MIB) + NOISE


@suffixes
def test_every_cut_of_packed_data_is_refused(suffix: str) -> None:
    packed = PACKERS[suffix](RAW)
    for length in range(len(packed)):
        message = refusal_of(packed[:length], suffix)
        assert message == f"the {suffix} data ends too early" or message.startswith(f"damaged {suffix} data (")


@suffixes
def test_every_cut_of_a_second_stream_is_refused(suffix: str) -> None:
    first, second = PACKERS[suffix](RAW), PACKERS[suffix](b"x")
    for length in range(1, len(second)):
        message = refusal_of(first + second[:length], suffix)
        assert message == f"the {suffix} data ends too early" or message.startswith(f"damaged {suffix} data (")


@suffixes
def test_a_cut_behind_the_first_chunk_is_refused(suffix: str) -> None:
    packed = PACKERS[suffix](NOISE)
    for length in (MIB - 1, MIB, MIB + 1, 2 * MIB, len(packed) - 1):
        assert refusal_of(packed[:length], suffix) == f"the {suffix} data ends too early"


@suffixes
def test_data_that_is_not_packed_at_all_is_refused(suffix: str) -> None:
    assert refusal_of(RAW, suffix).startswith(f"damaged {suffix} data (")


@suffixes
@pytest.mark.parametrize("rubbish", [b"rubbish behind the end", b"\0", bytes(512), b"x" * 3 * MIB])
def test_rubbish_after_the_last_stream_is_refused(suffix: str, rubbish: bytes) -> None:
    assert "damaged" in (said := refusal_of(PACKERS[suffix](RAW) + rubbish, suffix)) or "ends too early" in said


@suffixes
def test_every_altered_byte_is_refused_or_changes_nothing(suffix: str) -> None:
    packed = PACKERS[suffix](RAW)
    for at in range(len(packed)):
        altered = packed[:at] + bytes([packed[at] ^ 0x55]) + packed[at + 1 :]
        try:
            raw = unpacked(altered, suffix)
        except ValueError:
            continue
        assert raw == RAW, "a header has fields that say nothing of the content, such as gzip's time"


@suffixes
def test_a_bomb_is_stopped_at_the_cap(suffix: str) -> None:
    assert refusal_of(PACKERS[suffix](bytes(5 * MIB)), suffix, MIB) == "more than 1 MiB when unpacked"


@suffixes
def test_nothing_over_the_cap_is_written(suffix: str) -> None:
    to = Buffer()
    with pytest.raises(ValueError, match="when unpacked"):
        unpack(io.BytesIO(PACKERS[suffix](bytes(20 * MIB))), suffix, to, 3 * MIB)
    assert len(to.content) <= 3 * MIB


@suffixes
def test_no_more_is_read_than_is_unpacked(suffix: str) -> None:
    """What a decompressor is given it keeps: a bomb must not fill the memory with what comes behind it."""

    class Counted(io.BytesIO):
        reads = 0

        def read(self, size: int | None = -1, /) -> bytes:
            self.reads += 1
            return super().read(size)

    packed = Counted(PACKERS[suffix](bytes(9 * MIB) + NOISE))
    with pytest.raises(ValueError, match="when unpacked"):
        unpack(packed, suffix, Buffer(), 8 * MIB)
    assert packed.reads == 1


@suffixes
def test_a_bomb_of_many_streams_is_stopped_at_the_cap(suffix: str) -> None:
    assert refusal_of(PACKERS[suffix](bytes(MIB // 2)) * 3, suffix, MIB) == "more than 1 MiB when unpacked"


@suffixes
def test_exactly_the_cap_is_let_through(suffix: str) -> None:
    packed = PACKERS[suffix](bytes(MIB))
    assert unpacked(packed, suffix, MIB) == bytes(MIB)
    assert refusal_of(packed, suffix, MIB - 1).startswith("more than ")


@suffixes
@pytest.mark.timeout(10)
def test_empty_streams_without_end_take_no_time_without_end(suffix: str) -> None:
    # 4 MiB of streams that hold nothing never reach the cap; their number must not cost its square
    empty = PACKERS[suffix](b"")
    assert refusal_of(empty * (4 * MIB // len(empty)), suffix) == f"more than 100 {suffix} streams"


@suffixes
@pytest.mark.parametrize(("number", "refused"), [(99, False), (100, False), (101, True)])
def test_a_hundred_streams_are_one_file_and_not_one_more(suffix: str, number: int, refused: bool) -> None:  # noqa: FBT001
    packed = PACKERS[suffix](b"x") * number
    if refused:
        assert refusal_of(packed, suffix) == f"more than 100 {suffix} streams"
    else:
        assert unpacked(packed, suffix) == b"x" * number


@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from(sorted(PACKERS)),
    st.integers(1, 70),
    st.lists(st.binary(max_size=100) | st.integers(0, 300).map(bytes), min_size=1, max_size=4),
)
def test_wherever_a_chunk_ends_the_file_is_the_same(suffix: str, chunk: int, pieces: list[bytes]) -> None:
    packed = b"".join(map(PACKERS[suffix], pieces))
    whole = b"".join(pieces)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "_CHUNK", chunk)
        assert unpacked(packed, suffix) == whole
        assert unpacked(packed, suffix, len(whole)) == whole
        if whole:
            assert "when unpacked" in refusal_of(packed, suffix, len(whole) - 1)


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(sorted(PACKERS)), st.integers(1, 70), st.binary(max_size=200), st.data())
def test_wherever_a_chunk_ends_a_cut_is_refused(suffix: str, chunk: int, raw: bytes, data: st.DataObject) -> None:
    packed = PACKERS[suffix](raw)
    length = data.draw(st.integers(0, len(packed) - 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "_CHUNK", chunk)
        message = refusal_of(packed[:length], suffix)
    assert "ends too early" in message or "damaged" in message


def asking_for(dictionary: int) -> bytes:
    """Return an .xz file whose header asks for a dictionary of a size by its code (The .xz File Format, 5.3.1)."""
    raw = bytearray(lzma.compress(RAW, preset=0, check=lzma.CHECK_CRC32))
    header = raw[12 : 12 + (raw[12] + 1) * 4]
    header[header.index(b"\x21\x01") + 2] = dictionary
    header[-4:] = zlib.crc32(header[:-4]).to_bytes(4, "little")
    raw[12 : 12 + len(header)] = header
    return bytes(raw)


@pytest.mark.parametrize("dictionary", [20, 28])  # 4 and 64 MiB
def test_an_xz_stream_may_ask_for_what_xz_9_needs(dictionary: int) -> None:
    assert unpacked(asking_for(dictionary), ".xz") == RAW


@pytest.mark.parametrize("dictionary", [29, 30, 39, 40])  # 96 and 128 MiB, 3 and 4 GiB
def test_an_xz_stream_that_asks_for_more_than_68_mib_is_refused(dictionary: int) -> None:
    assert refusal_of(asking_for(dictionary), ".xz").startswith("damaged .xz data (Memory usage limit")


def test_what_xz_itself_makes_at_its_highest_is_unpacked() -> None:
    assert unpacked(lzma.compress(RAW, preset=9 | lzma.PRESET_EXTREME), ".xz") == RAW


@suffixes
def test_the_digests_are_of_the_unpacked_file(suffix: str) -> None:
    assert unpack(io.BytesIO(PACKERS[suffix](NOISE)), suffix, Buffer(), 8 * MIB) == digest(io.BytesIO(NOISE))


@pytest.mark.parametrize(
    ("url", "split"),
    [
        ("https://a.example/f", ("https://a.example/f", "")),
        ("https://a.example/f.gz", ("https://a.example/f", ".gz")),
        ("https://a.example/f.bz2", ("https://a.example/f", ".bz2")),
        ("file:///f.xz", ("file:///f", ".xz")),
        ("https://a.example/f.zip", ("https://a.example/f.zip", "")),
        ("https://a.gz/f", ("https://a.gz/f", "")),
        ("file:///f.gz.xz", ("file:///f.gz", ".xz")),
    ],
)
def test_a_urls_packing_is_told_by_its_end(url: str, split: tuple[str, str]) -> None:
    assert split_packing(url) == split


def test_a_file_is_made_when_its_first_byte_comes_and_not_before(tmp_path: Path) -> None:
    path = tmp_path / "made" / "for" / "it"
    with FileSink(path) as to:
        to.restart()
        assert not path.parent.exists()
        to.write(b"one")
        assert path.read_bytes() == b"one", "nothing waits in a buffer"
        to.write(b"two")
    assert path.read_bytes() == b"onetwo"


def test_nothing_of_a_body_that_is_begun_again_is_left(tmp_path: Path) -> None:
    for sink in (FileSink(tmp_path / "file"), Buffer()):
        sink.write(b"longer than what comes then")
        sink.restart()
        sink.write(b"one")
        sink.write(b"two")
        if isinstance(sink, Buffer):
            assert sink.content == b"onetwo"
        else:
            assert (tmp_path / "file").read_bytes() == b"onetwo"
            sink.__exit__()


def test_a_full_disk_is_no_fault_of_the_feeds(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with FileSink(tmp_path / "file") as to, pytest.raises(FwfeedError) as caught:
            for _ in range(3):
                to.write(bytes(60))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.code is ExitCode.FAILED
    assert caught.value.message == f"cannot write {tmp_path / 'file'}: File too large"
