"""Clips are held against their labels and pairs against what should be on them, by an engine that knows how text and sound go together."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.chance import generator
from manifests.clip import Clip
from manifests.errors import Rejected
from manifests.labels import Labels
from manifests.pair import Pair
from manifests.scene import Rendered, Scene
from stages.edit import edit, sides
from stages.ingest import Gates, store
from stages.instruct import instruct, instruct_generate
from stages.measure import measure
from stages.render import render
from stages.scenes import piece, solo, soundscape
from stages.score_clap import CLEAR, PROMPT, WINDOW, score_clap, score_clips

RATE, SECONDS = 8_000, 5.0
PITCHES = {"a bell": 500.0, "a horn": 900.0, "a kettle": 1_500.0, "a whistle": 2_300.0, "rain": 3_400.0}
EDITS = ("add", "remove", "extract", "replace")


@dataclass
class Knows:
    """Similar to a text is what holds the tones of the sounds that it names: their share of the energy."""

    batch: int = 5
    refuses: int | None = None  # samples: of recordings as long as this
    heard: list[tuple[np.ndarray, list[str]]] = field(default_factory=list)

    def score(self, recordings: list[np.ndarray], rate: int, texts: list[list[str]]) -> list[np.ndarray | Rejected]:
        assert rate == RATE and 1 <= len(recordings) == len(texts) <= self.batch and all(texts)
        assert all(audio.dtype == np.float32 and audio.ndim == 2 and np.abs(audio).max() <= 1 for audio in recordings)
        self.heard += zip(recordings, texts)
        return [Rejected("too odd") if audio.shape[1] == self.refuses else np.array([like(audio, text) for text in said], np.float32)
                for audio, said in zip(recordings, texts)]


def like(audio: np.ndarray, text: str) -> float:
    power = np.square(np.abs(np.fft.rfft(audio.mean(axis=0))))
    pitches = np.fft.rfftfreq(audio.shape[1], 1 / RATE)
    inside = sum(np.abs(pitches - hz) < 60 for label, hz in PITCHES.items() if label in text) + np.zeros(len(pitches))
    return float((power * inside).sum() / max(power.sum(), 1e-20))


def tone(label: str, seconds: float, level: float = 0.1, hiss: float = 1e-3, seed: int = 0) -> np.ndarray:
    time = np.arange(round(seconds * RATE)) / RATE
    noise = np.random.default_rng(seed).standard_normal(len(time))
    return (level * np.sin(2 * np.pi * PITCHES.get(label, 0.0) * time) + hiss * noise)[None].astype(np.float32)


def stored(audio: np.ndarray, role: str, label: str, **known) -> tuple[Clip, bytes]:
    clip = Clip(f"{label}.wav", 0.0, audio.shape[1] / RATE, 0, "sound", "real", role=role, label=label, **known)
    return store(measure(clip, audio, RATE), audio, RATE)


def read_off(scene: Scene, flac: dict[str, tuple[Clip, bytes]], asked: list[tuple[str, int]], ground_at_hand: bool = False) -> tuple[Rendered, list[Pair]]:
    """A scene with its pairs, as they come from rendering."""
    rendered = render(scene, {name: clip for name, (clip, _) in flac.items()}, lambda clip: flac[clip.clip_id][1], generator(1, "loudness"))
    pairs = []
    for name, stem in asked:
        pair = Pair(f"{name}-{stem}", scene.scene_id, name, "synthetic", "real", "sound", "en", "train", 0)
        pair.before, pair.after, pair.edited = sides(scene, name, stem)
        instruct(pair, scene, Labels.read())
        pairs.append(pair)
    edit(rendered, pairs)
    rendered.audio = rendered.audio[:1] if ground_at_hand else []
    return rendered, pairs


def outdoors(seed: int = 0, ground: str = "rain", sound: np.ndarray | None = None, asked: tuple[tuple[str, int], ...] = ()) -> tuple[Rendered, list[Pair]]:
    """A bell, which may be a whistle, and a horn over a background, which is at hand where it has no label."""
    below = tone("rain", SECONDS, 0.02, seed=seed) if sound is None else sound
    made = [stored(below, "background", ground), *(stored(tone(label, 1.0 + n / 2, seed=n), "event", label) for n, label in enumerate(PITCHES) if n != 2)][:4]
    (back, _), (bell, _), (horn, _), (whistle, _) = made
    scene = Scene(f"s{seed}", "soundscape", "train", RATE, 1, round(SECONDS * RATE))
    soundscape.place(scene, back, [bell, horn], {0: whistle}, generator(seed))
    return read_off(scene, {clip.clip_id: (clip, flac) for clip, flac in made}, list(asked or [(name, 1) for name in EDITS]), not ground)


def score(*scenes: tuple[Rendered, list[Pair]], scorer: Knows | None = None) -> Knows:
    scorer = scorer or Knows()
    score_clap(list(scenes), RATE, scorer)
    return scorer


# -- clips


@given(st.sampled_from(["event", "background", "stem"]), st.floats(-1, 1, width=32), st.none() | st.floats(-1, 1))
def test_the_gate_rejects_events_only_and_every_clip_has_its_similarity(role, value, least):
    class Says:
        def score(self, recordings, rate, texts):
            assert texts == [[PROMPT.format("a bell")]]
            return [np.array([value], np.float32)]

    clip, audio = Clip("a.wav", 0.0, 1.0, 0, "sound", "real", role=role, label="a bell"), np.ones((1, 9), np.float32)
    ((found, same),) = score_clips([(clip, audio)], RATE, Says(), Gates(clap_label=least))
    assert same is audio and replace(found, reason=None) == replace(clip, clap_label=value)
    assert (found.reason is not None) == (role == "event" and least is not None and value < least)
    assert found.reason is None or f"'a bell': CLAP similarity {value:.2f}" in found.reason


def test_clips_are_told_from_those_with_another_label_and_one_that_is_refused_is_kept():
    told = [("a bell", "a bell", 1.0), ("a bell", "a horn", 1.0), ("a bell", "a horn", 0.5), ("rain", "rain", 2.0)]
    clips = [(Clip("a.wav", 0.0, 1.0, 0, "sound", "real", role="event", label=label), tone(sound, seconds)) for label, sound, seconds in told]
    found = [clip for clip, _ in score_clips(clips, RATE, Knows(batch=3, refuses=RATE // 2), Gates(clap_label=0.5))]
    assert [clip.reason is None for clip in found] == [True, False, True, True] and found[2] == clips[2][0] and found[2].clap_label is None
    assert found[0].clap_label > 0.9 > 0.1 > found[1].clap_label and found[3].clap_label > 0.9


# -- pairs


@pytest.mark.parametrize("seed", range(6))
def test_a_right_edit_gains_and_its_contrary_loses(seed):
    rendered, pairs = outdoors(seed)
    score((rendered, pairs))
    gains = {pair.edit: pair.clap_gain for pair in pairs}
    assert [*gains] == [*EDITS] and all(gain > 0.02 for gain in gains.values()), gains
    for pair in pairs:
        pair.source, pair.target = pair.target, pair.source
    score((rendered, pairs))
    assert {pair.edit: pair.clap_gain for pair in pairs} == pytest.approx({name: -gain for name, gain in gains.items()})


def test_a_replacement_gains_by_what_comes_and_by_what_goes():
    rendered, (pair,) = outdoors(2, asked=(("replace", 1),))
    first, last = (round(at * RATE) for at in (pair.edit_spans[0][0], pair.edit_spans[-1][1]))
    before, after = (side[:, first:last].astype(np.float32) / 32768 for side in (pair.source, pair.target))
    score((rendered, [pair]))
    come, gone = (like(after, label) - like(before, label) for label in ("a whistle", "a bell"))
    assert come > 0.02 > -0.02 > gone and pair.clap_gain == pytest.approx((come - gone) / 2, abs=1e-5)


def test_an_instrument_that_takes_anothers_part_gains():
    made = [stored(tone(label, SECONDS, level), "track", label, piece="p", part=part, variant=variant)
            for label, part, variant, level in (("a bell", "high", 0, 0.1), ("a horn", "low", 0, 0.05), ("a kettle", "low", 1, 0.2))]
    scene = Scene("p", "piece", "train", RATE, 1, 4 * RATE)
    piece.place(scene, [made[0][0], made[1][0]], {1: made[2][0]}, generator(1))
    rendered, pairs = read_off(scene, {clip.clip_id: (clip, flac) for clip, flac in made}, [("transfer", 1), ("extract", 1), ("add", 0)])
    score((rendered, pairs))
    assert all(pair.clap_gain > 0.02 for pair in pairs) and "background_checked" not in pairs[0].params


def test_each_side_is_held_against_all_that_is_on_it():
    rendered, pairs = outdoors(1)
    score((rendered, pairs))
    add, _, extract, _ = pairs
    assert (add.source_text, add.target_text, extract.target_text) == ("rain and a horn", "rain, a bell and a horn", "a bell")
    for pair in pairs:
        for side, text, value in ((pair.source, pair.source_text, pair.clap_source), (pair.target, pair.target_text, pair.clap_target)):
            assert value == pytest.approx(like(side.astype(np.float32) / 32768, text), abs=1e-5) and value > 0.9


def test_what_siblings_share_is_listened_to_once():
    asked = tuple((name, stem) for stem in (1, 2) for name in ("add", "remove", "extract"))
    heard = score(outdoors(0, asked=asked), outdoors(1, asked=asked)).heard
    assert len({audio.tobytes() for audio, _ in heard}) == len(heard) == 2 * (5 + 2 * 3)  # of each scene 5 sides, and of each event 3 sides' spans


def test_many_scenes_give_what_each_gives_alone():
    together, alone = ([outdoors(seed, ground) for seed, ground in ((0, "rain"), (1, ""), (2, ""), (3, "rain"))] for _ in range(2))
    score(*together, scorer=Knows(batch=7))
    for one in alone:
        score(one, scorer=Knows(batch=1))
    assert [pair.quality() | pair.params for _, pairs in together for pair in pairs] == [pair.quality() | pair.params for _, pairs in alone for pair in pairs]


@pytest.mark.parametrize("ground", ["rain", ""])
def test_where_the_engine_hears_nothing_all_scores_are_null(ground):
    class Deaf(Knows):
        def score(self, recordings, rate, texts):
            return [Rejected("out of order") for _ in recordings]

    rendered, pairs = outdoors(0, ground)
    score((rendered, pairs), scorer=Deaf())
    assert all(pair.clap_source is pair.clap_target is pair.clap_gain is pair.clap_background is pair.reason is None for pair in pairs)
    assert all(pair.params == ({} if ground else {"background_checked": False}) for pair in pairs)


def test_a_stretch_that_is_refused_leaves_only_the_gain_null():
    rendered, pairs = outdoors(0, asked=(("add", 1), ("add", 2)))
    bell, horn = pairs
    score((rendered, pairs), scorer=Knows(refuses=round(bell.edit_spans[0][1] * RATE) - round(bell.edit_spans[0][0] * RATE)))
    assert bell.clap_gain is None and None not in (bell.clap_source, bell.clap_target, horn.clap_gain, horn.clap_source)


def test_edits_of_speech_and_pairs_that_were_not_made_are_not_listened_to():
    rendered, (speech, unmade) = outdoors(0, asked=(("add", 1), ("remove", 1)))
    speech.edit, unmade.source, unmade.target = "speech_delete", None, None
    assert score((rendered, [speech, unmade])).heard == [] and speech.clap_source is speech.clap_gain is unmade.clap_source is None


# -- backgrounds that nobody labelled


def murmur(label: str = "", start: float = 0.0, seconds: float = 0.5, level: float = 0.1) -> np.ndarray:
    """Noise in which a sound may be heard for some time."""
    audio, first = tone("", SECONDS, hiss=0.03), round(start * RATE)
    if label:
        audio[:, first : first + round(seconds * RATE)] += tone(label, seconds, level, hiss=0.0)
    return audio


@pytest.mark.parametrize(("sound", "checked"), [(murmur(), True), (murmur("a horn", 2.1), False), (murmur("a bell", SECONDS - 0.5), False),
                                                (murmur("a whistle", 0.0), False), (murmur("a kettle", 1.0), True), (murmur("a horn", 2.1, level=0.01), True)])
def test_a_background_without_a_label_is_as_likely_as_its_likest_two_seconds(sound, checked):
    rendered, pairs = outdoors(0, "", sound)
    heard, size = rendered.audio[0], round(WINDOW * RATE)
    score((rendered, pairs))
    likest = max(like(heard[:, at : at + size], label) for at in (0, size, heard.shape[1] - size) for label in ("a bell", "a horn", "a whistle"))
    for pair in pairs:
        assert pair.clap_background == pytest.approx(likest, abs=1e-5) and pair.params == {"background_checked": checked} and (likest <= CLEAR) == checked


def test_a_side_without_any_label_has_no_score():
    rendered, (pair,) = outdoors(0, "", murmur(), asked=(("add", 1),))
    rendered.scene.stems[2].label = ""
    instruct(pair, rendered.scene, Labels.read())
    score((rendered, [pair]))
    assert pair.source_text == "" and pair.clap_source is None and pair.clap_target is not None and pair.clap_gain > 0


def test_a_background_with_a_label_is_not_listened_to_by_itself():
    rendered, pairs = outdoors(0)
    score((rendered, pairs))
    assert all(pair.clap_background is None and pair.params == {} for pair in pairs)


@pytest.mark.parametrize(("role", "heard"), [("event", True), ("utterance", False)])
def test_what_is_made_of_silence_is_held_against_its_text_unless_it_speaks(role, heard):
    clip, flac = stored(tone("a bell", 1.0), role, "a bell")
    clip = replace(clip, transcript="we waited")
    scene = solo.place(Scene("s", "solo", "train", RATE, 1, round(SECONDS * RATE)), clip, None, generator(1))
    rendered = render(scene, {clip.clip_id: clip}, lambda _: flac, generator(1, "loudness"))
    pair = Pair("generate-0", "s", "generate", "real", "real", "sound", "en", "train", 0)
    pair.before, pair.after, pair.edited = sides(scene, "generate", 0)
    instruct_generate(pair, scene, Labels.read(), clip)
    edit(rendered, [pair])
    rendered.audio = []
    score((rendered, [pair]))
    assert pair.clap_source is None and pair.clap_gain is None and pair.clap_background is None
    assert (pair.clap_target is not None and pair.clap_target > 0.5) if heard else pair.clap_target is None
