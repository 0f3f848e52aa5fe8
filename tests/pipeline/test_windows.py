"""How what is listed is cut into windows and parts."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.clip import Clip
from pipeline.sources import PART_SECONDS, Listing, SourceFile, clip_parts, windows


def long(uri: str, seconds: float | None, start: float = 0.0, end: float = 0.0, piece: str = "") -> tuple[Clip, SourceFile]:
    return Clip(uri, start, end, 0, "sound", "real", piece=piece), SourceFile(uri, 0, seconds=seconds)


def listed(*named: tuple[Clip, SourceFile]) -> Listing:
    return Listing({file.uri: file for _, file in named}, [clip for clip, _ in named], "")


def test_a_long_file_spans_several_parts():
    found = windows(listed(long("a", 3 * 3600.0), long("b", 5.0)), 10.0)
    parts = clip_parts(found)
    assert [part.number for part in parts] == list(range(len(parts))) and len(parts) >= 18
    assert [w for part in parts for w in part.items] == found and found[-1].uri == "b"
    assert all(sum(w.end - w.start for w in part.items) <= PART_SECONDS for part in parts)
    assert len({part.number for part in parts if any(w.uri == "a" for w in part.items)}) >= 18


def test_what_is_said_is_known_of_what_is_one_window_only():
    (clip, file), (short, other) = long("street", 90.0), long("call", 4.0)
    clip.transcript = short.transcript = "Come in."
    found = windows(listed((clip, file), (short, other)), 10.0)
    assert len(found) > 2 and [window.transcript for window in found] == [""] * (len(found) - 1) + ["Come in."]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.floats(0.01, 5000), st.floats(0, 100), st.floats(0, 6000)), max_size=8), st.floats(1.0, 60.0))
def test_windows_cover_each_stretch_once_and_parts_hold_ten_minutes(files, seconds):
    named = [long(str(n), length, start, end if end > start else 0.0) for n, (length, start, end) in enumerate(files)]
    found = windows(listed(*named), seconds)
    for clip, file in named:
        mine = [w for w in found if w.uri == file.uri]
        end = min(clip.end or file.seconds, file.seconds)
        if clip.start >= end:
            assert not mine and "starts at" in clip.reason
            continue
        assert mine[0].start == clip.start and mine[-1].end == end
        assert all(one.end == two.start for one, two in zip(mine, mine[1:]))
        assert all(0 < w.end - w.start <= 4.5 * seconds + 1e-6 for w in mine)
        assert len(mine) == 1 or all(w.end - w.start >= 1.5 * seconds - 1e-6 for w in mine)
    parts = clip_parts(found)
    assert [w for part in parts for w in part.items] == found
    assert all(part.items and sum(w.end - w.start for w in part.items) <= PART_SECONDS + 1e-6 for part in parts)
    for one, two in zip(parts, parts[1:]):  # full, or its file goes on, or the next file would not have fitted whole
        first = two.items[0]
        rest = [first] if first.uri == one.items[-1].uri else [w for w in found if w.uri == first.uri]
        assert sum(w.end - w.start for w in [*one.items, *rest]) > PART_SECONDS - 1e-6


def test_what_a_file_is_read_together_with_does_not_depend_on_other_files():
    """A seek in an MP3 can move a sample by its last bit."""
    long_file = long("long", 1500.0)
    alone = [tuple(part.items) for part in clip_parts(windows(listed(long_file), 10.0))]
    before, after = ([long(f"{side} {n}", 95.0) for n in range(5)] for side in ("before", "after"))
    beside = [tuple(w for w in part.items if w.uri == "long") for part in clip_parts(windows(listed(*before, long_file, *after), 10.0))]
    assert [items for items in beside if items] == alone


def test_what_was_rejected_or_has_no_length_makes_no_windows():
    clip, file = long("a", 100.0)
    file.status = "rejected"
    assert windows(listed((clip, file), long("b", None)), 10.0) == [] and clip_parts([]) == []


def test_pieces_are_kept_whole_and_weigh_their_tracks():
    found = windows(listed(*(long(f"p{n}", 16.0, piece=f"p{n}") for n in range(20))), 10.0)
    assert [(w.start, w.end) for w in found] == [(0.0, 16.0)] * 20
    assert [len(part.items) for part in clip_parts(found)] == [6, 6, 6, 2]


def spoken(uri: str, seconds: float, transcript: str) -> tuple[Clip, SourceFile]:
    clip, file = long(uri, seconds)
    clip.role, clip.domain, clip.transcript = "utterance", "speech", transcript
    return clip, file


def test_speech_is_cut_into_windows_that_an_utterance_can_be():
    heard, short, endless = spoken("a", 3600.0, ""), spoken("b", 12.0, "well"), spoken("c", 36_000.0, "well")
    found = windows(listed(heard, short, endless), 20.0, 30.0)
    assert all(w.end - w.start <= 30.0 for w in found) and sum(w.end - w.start for w in found if w.uri == "a") == 3600.0
    assert [(w.start, w.end) for w in found if w.uri == "b"] == [(0.0, 12.0)]
    assert "one transcript" in endless[0].reason and not [w for w in found if w.uri == "c"]


def test_many_tiny_windows_are_not_one_part():
    assert len(clip_parts(windows(listed(*(long(str(n), 0.005) for n in range(3000))), 10.0))) == 3


def talk(uri: str, seconds: float, start: float = 0.0, end: float = 0.0) -> tuple[Clip, SourceFile]:
    clip, file = long(uri, seconds, start, end)
    clip.role, clip.domain = "conversation", "speech"
    return clip, file


@given(st.floats(0.01, 3000), st.floats(0, 100), st.floats(0, 3000), st.floats(1.0, 60.0))
def test_a_conversation_is_cut_into_windows_of_one_scene(length, start, end, seconds):
    clip, file = talk("a", length, start, end if end > start else 0.0)
    found, last = windows(listed((clip, file)), seconds), min(clip.end or length, length)
    if start >= last:
        assert found == [] and "starts at" in clip.reason
        return
    assert found[0].start == start and {w.role for w in found} == {"conversation"}
    assert all(one.end == pytest.approx(two.start) for one, two in zip(found, found[1:]))
    assert [w.end - w.start for w in found[:-1]] == pytest.approx([seconds] * (len(found) - 1))
    assert found[-1].end <= last < found[-1].end + seconds / 2 + 1e-6  # under half a scene is left over
    assert len(found) == 1 or found[-1].end - found[-1].start > seconds / 2 - 1e-6


def test_what_is_separated_weighs_as_many_recordings_as_it_is_heard_in():
    def sized(role: str) -> list[int]:
        listing = listed(*(long(f"s{n}", 16.0) for n in range(40)))
        for clip in listing.named:
            clip.role = role
        return [len(part.items) for part in clip_parts(windows(listing, 20.0))]

    assert sized("stem") == [6] * 6 + [4] and sized("conversation") == sized("background") == [37, 3]
