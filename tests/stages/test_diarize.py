"""Who speaks when is told by an engine; a conversation is kept where its speakers can be told apart."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.clip import Clip
from manifests.errors import Rejected
from stages.diarize import by_speaker, diarize, from_json, overlap_of, to_json
from stages.engines.protocols import Turn
from stages.ingest import Gates

RATE = 1_000
TICK = 0.01  # s, that the times of made turns are whole numbers of
TURNS = st.lists(st.builds(lambda who, start, length: Turn(who, start * TICK, (start + length) * TICK), st.sampled_from("abc"), st.integers(0, 300),
                           st.integers(1, 150)), max_size=12)


class Told:
    """A user's diarizer, which says what it was told when it was made; it knows recordings by their first sample."""

    batch = 2

    def __init__(self, *answers: list[Turn] | Rejected):
        self.answers, self.sizes = answers, []

    def diarize(self, recordings: list[np.ndarray], rate: int) -> list[list[Turn] | Rejected]:
        assert all(audio.dtype == np.float32 and audio.ndim == 2 for audio in recordings)
        self.sizes.append(len(recordings))
        return [self.answers[round(float(audio[0, 0]))] for audio in recordings]


def conversations(count: int, seconds: float = 5.0) -> list[tuple[Clip, np.ndarray]]:
    samples = round(seconds * RATE)
    return [(Clip(f"{n}.wav", 0.0, seconds, 0, "speech", "real", role="conversation"), np.full((1, samples), n, np.float32)) for n in range(count)]


def judged(*turns: tuple[str, float, float], seconds: float = 5.0, **gates: float) -> Clip:
    ((clip, _),) = diarize(conversations(1, seconds), RATE, Told([Turn(*turn) for turn in turns]), Gates(**gates))
    return clip


def on_a_grid(turns: list[Turn]) -> dict[str, np.ndarray]:
    """In which ticks each speaks."""
    grid = {turn.speaker: np.zeros(500, bool) for turn in turns}
    for turn in turns:
        grid[turn.speaker][round(turn.start / TICK) : round(turn.end / TICK)] = True
    return grid


@given(TURNS)
def test_overlap_is_the_share_of_what_is_said_in_which_two_speak(turns):
    speaking = sum((one.astype(int) for one in on_a_grid(turns).values()), np.zeros(500, int))
    assert overlap_of(turns) == pytest.approx((speaking > 1).sum() / max(1, (speaking > 0).sum()), abs=1e-9)


@given(TURNS)
def test_stretches_of_a_speaker_are_where_he_speaks_and_do_not_touch(turns):
    found = by_speaker(turns)
    assert {who: on_a_grid([Turn(who, *each) for each in stretches])[who].tolist() for who, stretches in found.items()} == {
        who: one.tolist() for who, one in on_a_grid(turns).items()}
    assert all(one[1] < two[0] for stretches in found.values() for one, two in zip(stretches, stretches[1:]))
    assert [stretches[0][0] for stretches in found.values()] == sorted(min(turn.start for turn in turns if turn.speaker == who) for who in found)


@given(TURNS, st.randoms(use_true_random=False))
def test_turns_are_stored_in_order_to_a_tenth_of_a_millisecond(turns, chance):
    stored = from_json(to_json(chance.sample(turns, len(turns))))
    assert [(turn.start, turn.end) for turn in stored] == sorted((round(turn.start, 4), round(turn.end, 4)) for turn in turns)
    assert from_json(to_json(stored)) == stored


def test_a_conversation_of_two_is_kept_with_its_turns():
    clip = judged(("anna", 0.0, 2.0), ("bob", 2.0, 3.0), ("anna", 3.5, 5.0))
    assert (clip.reason, clip.editable, clip.speaker_overlap, clip.role) == (None, 2, 0.0, "conversation")
    assert from_json(clip.turns) == [Turn("anna", 0.0, 2.0), Turn("bob", 2.0, 3.0), Turn("anna", 3.5, 5.0)]


def test_turns_end_with_the_recording_and_what_lies_outside_is_none():
    clip = judged(("a", -0.5, 1.0), ("b", 1.5, 9.0), ("c", 7.0, 8.0), ("d", -3.0, -1.0), ("e", 2.0, 2.0), ("f", 3.0, 1.0))
    assert clip.reason is None and from_json(clip.turns) == [Turn("a", 0.0, 1.0), Turn("b", 1.5, 5.0)]


@pytest.mark.parametrize(("turns", "reason"), [
    ([], "no conversation: nobody speaks"), ([("a", 0.0, 1.0), ("a", 2.0, 3.0)], "no conversation: one speaker"),
    ([("a", 0.0, 2.0), ("b", 6.0, 7.0)], "no conversation: one speaker")])
def test_fewer_than_two_speakers_are_no_conversation(turns, reason):
    assert judged(*turns).reason == reason and judged(*turns).editable == 0


def test_a_speaker_who_says_too_little_in_all_is_a_reason():
    turns = [("a", 0.0, 2.0), ("b", 2.1, 2.35), ("b", 3.0, 3.25)]
    assert judged(*turns, speaker_seconds=0.5 - 1e-9).reason is None
    assert judged(*turns, speaker_seconds=0.6).reason == "one of its 2 speakers speaks for 0.50 s (at least 0.6 s)"


def test_what_a_speaker_says_twice_over_counts_once():
    assert "speaks for 0.40 s" in judged(("a", 0.0, 2.0), ("b", 2.1, 2.4), ("b", 2.2, 2.5)).reason


@pytest.mark.parametrize(("most", "kept"), [(0.0, False), (0.24, False), (0.26, True), (1.0, True)])
def test_more_overlap_than_the_gate_is_a_reason_and_is_measured_all_the_same(most, kept):
    clip = judged(("a", 0.0, 2.0), ("b", 1.0, 4.0), speaker_overlap=most)
    assert clip.speaker_overlap == pytest.approx(0.25) and (clip.reason is None) == kept
    assert kept or clip.reason.startswith("two speak at once in 25% of what is said")


def test_one_that_the_engine_cannot_tell_costs_only_itself():
    two = [Turn("a", 0.0, 2.0), Turn("b", 3.0, 4.0)]
    told, todo = Told(two, Rejected("only music"), [], two, two[::-1]), conversations(5)
    found = diarize(todo, RATE, told, Gates())
    assert [clip.reason for clip, _ in found] == [None, "only music", "no conversation: nobody speaks", None, None] and told.sizes == [2, 2, 1]
    assert all(audio is given_ for (_, audio), (_, given_) in zip(found, todo))
    assert [clip for clip, _ in found] == [diarize([one], RATE, told, Gates())[0][0] for one in todo]
    assert found[1][0].turns == "" and found[3][0].turns == found[4][0].turns


@given(st.lists(TURNS, min_size=1, max_size=5), st.floats(0, 1), st.floats(0, 2))
def test_what_is_kept_keeps_to_the_gates(answers, most, least):
    for clip, _ in diarize(conversations(len(answers)), RATE, Told(*answers), Gates(speaker_overlap=most, speaker_seconds=least)):
        spoken = {who: one.sum() * TICK for who, one in on_a_grid(from_json(clip.turns)).items()}
        clear = len(spoken) >= 2 and min(spoken.values()) > least + 1e-6 and clip.speaker_overlap <= most
        assert clip.editable == (len(spoken) if clip.reason is None else 0)
        assert clip.reason is None or not clear
        assert clip.reason is not None or (len(spoken) >= 2 and min(spoken.values()) > least - 1e-6 and clip.speaker_overlap <= most)
