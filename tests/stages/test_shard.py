"""A shard is a plain tar of samples: the same pairs give the same bytes, and any reader finds what was put in."""

import io
import json
import tarfile

import numpy as np
import soundfile

from manifests.pair import Pair
from stages.shard import add_member, shard


def pair_of(name: str, source: np.ndarray, target: np.ndarray, rate: int = 16_000) -> Pair:
    pair = Pair(name, "scene", "remove", "synthetic", "demo", "sound", "en", "train", 0, instruction="Remove the sound of 'ü'.", label="ü")
    pair.source, pair.target, pair.sample_rate = source, target, rate
    pair.duration_s, pair.edit_spans, pair.instructions = target.shape[1] / rate, [[0.0, 0.1]], ["Remove the sound of 'ü'."]
    return pair


def noise(seed: int, channels: int = 1, samples: int = 4_000) -> np.ndarray:
    return np.random.default_rng(seed).integers(-20_000, 20_000, (channels, samples)).astype(np.int16)


def members(data: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}


def test_each_pair_has_three_members_in_the_order_given():
    pairs = [pair_of(f"0a1b2c3d-{n}-remove-1", noise(n), noise(n + 10)) for n in (2, 0, 1)]
    names = [f"0a1b2c3d-{n}-remove-1.{what}" for n in (2, 0, 1) for what in ("source.flac", "target.flac", "json")]
    assert list(members(shard(pairs))) == names


def test_audio_and_sample_come_back_as_they_were():
    pair = pair_of("key", noise(1, 2), noise(2, 2))
    found = members(shard([pair]))
    for side, audio in (("source", pair.source), ("target", pair.target)):
        got, rate = soundfile.read(io.BytesIO(found[f"key.{side}.flac"]), dtype="int16", always_2d=True)
        np.testing.assert_array_equal(got.T, audio)
        assert rate == 16_000
    assert json.loads(found["key.json"]) == pair.sample()
    assert "ü".encode() in found["key.json"]


def test_the_same_pairs_are_the_same_bytes():
    once, again = (shard([pair_of(f"k{n}", noise(n), noise(n + 10)) for n in range(4)]) for _ in range(2))
    assert once == again


def test_members_have_no_time_and_no_owner():
    with tarfile.open(fileobj=io.BytesIO(shard([pair_of("key", noise(1), noise(2))]))) as tar:
        for member in tar:
            assert member.isreg() and (member.mtime, member.uid, member.gid, member.uname, member.gname) == (0, 0, 0, "", "")


def test_siblings_share_the_audio_of_their_source():
    source = noise(0)
    found = members(shard([pair_of("a", source, noise(1)), pair_of("b", source, noise(2))]))
    assert found["a.source.flac"] == found["b.source.flac"]
    assert len({found["a.target.flac"], found["b.target.flac"], found["a.source.flac"]}) == 3


def test_a_pair_whose_sides_are_one_array_has_two_equal_members():
    audio = noise(3)
    found = members(shard([pair_of("noop", audio, audio)]))
    assert found["noop.source.flac"] == found["noop.target.flac"]


def test_pairs_may_come_one_by_one_and_be_let_go():
    def numbered():
        for n in range(20):
            yield pair_of(f"k{n}", noise(n), noise(n + 100))

    assert shard(numbered()) == shard(list(numbered()))


def test_no_pairs_are_an_empty_tar():
    assert members(shard([])) == {}


def test_bytes_become_a_member_of_any_tar():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        add_member(tar, "a/b.bin", b"123")
    assert members(buffer.getvalue()) == {"a/b.bin": b"123"}
