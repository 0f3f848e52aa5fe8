"""A conversation is cut where its speakers take turns; all pieces together are the recording."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from manifests.chance import generator
from manifests.clip import Clip
from manifests.pair import Pair
from manifests.scene import Rendered, Scene
from stages.diarize import by_speaker, from_json, to_json
from stages.edit import edit
from stages.engines.protocols import Turn
from stages.ingest import store
from stages.instruct import instruct_speaker
from stages.measure import measure
from stages.render import render
from stages.scenes.conversation import FADE, ORDINALS, place, sides, speakers

RATE = 8_000
SECONDS = 2.0
GAPS = st.sampled_from([0.0, 0.0, -0.00004, -0.0002, 0.00005, 0.003, 0.019, 0.0201, 0.05]) | st.floats(0.0, 0.4)
LENGTHS = st.sampled_from([0.0001, 0.004, 0.0199, 0.0201, 0.03]) | st.floats(0.05, 0.7)


@st.composite
def turns(draw) -> list[Turn]:
    """Turns that follow one another, touch, overlap by rounding, or are tiny; often from the first sample on and up to the last."""
    at, found = draw(st.just(0.0) | st.floats(0.0, 0.3)), []
    for who in draw(st.lists(st.sampled_from("cab"), max_size=9)):
        end = min(SECONDS, at + draw(LENGTHS))
        found.append(Turn(who, at, end))
        at = max(0.0, end + draw(GAPS))
        if at >= SECONDS:
            break
    if found and draw(st.booleans()):
        found.append(Turn(draw(st.sampled_from("cab")), min(found[-1].end, SECONDS - 0.0005), SECONDS))
    return [turn for turn in found if turn.start < turn.end] or [Turn("a", 0.5, 1.0)]


def talk(said: list[Turn], channels: int = 1, seed: int = 0) -> tuple[Clip, np.ndarray, bytes]:
    """A recording of noise in which somebody is said to speak; so no piece is like another."""
    audio = 0.1 * np.random.default_rng(seed).standard_normal((channels, round(SECONDS * RATE)), np.float32)
    clip = measure(Clip("talk.wav", 0.0, SECONDS, 0, "speech", "real", role="conversation", turns=to_json(said)), audio, RATE)
    clip, flac = store(clip, audio, RATE)
    return clip, audio, flac


def placed(clip: Clip, channels: int = 1) -> Scene:
    return place(Scene("s", "conversation", "train", RATE, channels, 0), clip)


def rendered_of(clip: Clip, flac: bytes, channels: int = 1) -> Rendered:
    return render(placed(clip, channels), {clip.clip_id: clip}, lambda _: flac, generator(3, "loudness"))


def alone(rendered: Rendered, stems: list[int]) -> np.ndarray:
    """The sum of some stems at the recording's own level."""
    return rendered.sum(stems) / np.float32(10 ** (rendered.scene.gain_db / 20))


@settings(max_examples=60)
@given(turns(), st.sampled_from([1, 2]))
@example([Turn("a", 0.0, SECONDS)], 1)
@example([Turn("a", 0.0, 1.0), Turn("b", 1.0, SECONDS)], 1)
@example([Turn("a", 0.001, 1.0), Turn("b", 0.9999, SECONDS - 0.001)], 2)
@example([Turn("a", 0.0, 0.001), Turn("b", SECONDS - 0.001, SECONDS)], 1)
@example([Turn("a", 0.0, 1.2), Turn("b", 0.8, 1.205), Turn("a", 1.5, SECONDS)], 1)
def test_the_pieces_sum_to_the_recording(said, channels):
    clip, audio, flac = talk(said, channels)
    rendered = rendered_of(clip, flac, channels)
    scene = rendered.scene
    assert scene.samples == audio.shape[1] and scene.mixture == list(range(len(scene.stems)))
    np.testing.assert_allclose(alone(rendered, scene.mixture), audio, rtol=0, atol=1e-6)


@given(turns())
@example([Turn("a", 0.0, 1.2), Turn("b", 0.8, 1.205), Turn("a", 1.5, SECONDS)])  # too little is left of the second
def test_pieces_follow_one_another_and_share_no_more_than_a_cross_fade(said):
    fade = round(FADE * RATE)
    stems = placed(talk(said)[0]).stems
    assert stems[0].onset == 0 and stems[-1].onset + stems[-1].length == round(SECONDS * RATE) and stems[0].fade_in == stems[-1].fade_out == 0
    for one, two in zip(stems, stems[1:]):
        assert one.onset + one.length - two.onset == one.fade_out == two.fade_in == fade
    assert all(stem.length >= stem.fade_in + stem.fade_out and stem.offset == stem.onset and stem.gain_db == 0 for stem in stems)
    assert all((stem.role, stem.length > 2 * fade) == ("voice" if stem.label else "rest", True) for stem in stems)


@settings(max_examples=40)
@given(turns())
def test_who_is_extracted_is_heard_where_he_speaks_and_nowhere_else(said):
    clip, audio, flac = talk(said)
    rendered, known, reach = rendered_of(clip, flac), from_json(clip.turns), round(0.035 * RATE)
    for number, (who, stretches) in enumerate(by_speaker(known).items()):
        _, after, theirs = sides(rendered.scene, "extract_speaker", number)
        assert after == theirs
        heard, near, only = alone(rendered, after), np.zeros(audio.shape[1], bool), np.zeros(audio.shape[1], bool)
        for start, end in stretches:
            near[max(0, round(start * RATE) - reach) : round(end * RATE) + reach] = True
            if end - start > 0.1:
                only[round(start * RATE) + reach : round(end * RATE) - reach] = True
        for turn in known:
            if turn.speaker != who:
                only[max(0, round(turn.start * RATE) - reach) : round(turn.end * RATE) + reach] = False
        np.testing.assert_allclose(heard[:, only], audio[:, only], rtol=0, atol=1e-6)
        assert not heard[:, ~near].any()


@settings(max_examples=30)
@given(turns(), st.integers(0, 2))
def test_a_speaker_extracted_and_the_conversation_without_him_sum_to_it(said, number):
    clip, _, flac = talk(said)
    rendered, pairs = rendered_of(clip, flac), []
    for name in ("extract_speaker", "remove_speaker"):
        pairs.append(Pair("key", "s", name, "real", "real", "speech", "en", "train", 0))
        pairs[-1].before, pairs[-1].after, pairs[-1].edited = sides(rendered.scene, name, number)
    extract, remove = pairs
    assert extract.before == remove.before == sorted(extract.after + remove.after) and extract.edited == remove.edited == extract.after
    if not extract.edited or not remove.after:
        return  # of him no piece is long enough to stand alone, or of anybody else
    edit(rendered, pairs)
    assert extract.source is remove.source and extract.gain_db == remove.gain_db and extract.edit_spans == remove.edit_spans
    assert np.abs(extract.target.astype(int) + remove.target - extract.source).max() <= 1
    assert np.abs(extract.source).max() <= 32768 * 10 ** (-1 / 20) + 1


@given(turns())
def test_speakers_are_named_by_order_of_appearance(said):
    clip, *_ = talk(said)
    first = {who: min(turn.start for turn in from_json(clip.turns) if turn.speaker == who) for who in {turn.speaker for turn in said}}
    assert speakers(clip) == [f"{ordinal} speaker" for ordinal in ORDINALS[: len(first)]]
    assert [first[who] for who in by_speaker(from_json(clip.turns))] == sorted(first.values())


def test_pieces_are_named_and_pauses_are_nobodys():
    said = [Turn("z", 0.2, 0.6), Turn("a", 0.6, 1.0), Turn("z", 1.01, 1.4), Turn("m", 1.6, SECONDS)]
    scene = placed(talk(said)[0])
    assert [(stem.label, stem.role) for stem in scene.stems] == [
        ("", "rest"), ("first speaker", "voice"), ("second speaker", "voice"), ("first speaker", "voice"), ("", "rest"), ("third speaker", "voice")]
    assert sides(scene, "extract_speaker", 0) == ([0, 1, 2, 3, 4, 5], [1, 3], [1, 3]) and sides(scene, "remove_speaker", 1)[1] == [0, 1, 3, 4, 5]
    pair = Pair("key", "s", "remove_speaker", "real", "real", "speech", "en", "train", 0, edited=[2])
    instruct_speaker(pair, scene)
    assert pair.label == "second speaker" and len(pair.instructions) == 18
    assert all("second speaker" in told or "第二位说话人" in told for told in pair.instructions)


@pytest.mark.parametrize(("pause", "labels"), [(0.019, ["first speaker", "second speaker"]), (0.021, ["first speaker", "", "second speaker"])])
def test_a_pause_too_short_for_its_fades_belongs_to_the_turn_after_it(pause, labels):
    stems = placed(talk([Turn("a", 0.0, 1.0), Turn("b", 1.0 + pause, SECONDS)])[0]).stems
    assert [stem.label for stem in stems] == labels and stems[1].onset == RATE - round(FADE * RATE) // 2


def test_a_turn_that_begins_before_another_ends_begins_where_it_ends():
    stems = placed(talk([Turn("a", 0.0, 1.2), Turn("b", 0.8, SECONDS)])[0]).stems
    assert [stem.label for stem in stems] == ["first speaker", "second speaker"] and stems[1].onset == round(1.2 * RATE) - round(FADE * RATE) // 2


def test_more_than_eight_speakers_are_nobodys_but_sound_all_the_same():
    clip, audio, flac = talk([Turn(f"voice {n}", 0.2 * n, 0.2 * (n + 1)) for n in range(10)])
    rendered = rendered_of(clip, flac)
    assert len(speakers(clip)) == 8 and [stem.label for stem in rendered.scene.stems[8:]] == ["", ""]
    np.testing.assert_allclose(alone(rendered, rendered.scene.mixture), audio, rtol=0, atol=1e-6)
