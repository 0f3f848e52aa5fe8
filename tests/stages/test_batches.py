"""Items go to an engine in batches that it can hold; every stage gives the same for many as for each alone."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.clip import Clip
from manifests.errors import Rejected, RunError
from manifests.loudness import SILENT
from pipeline.lanes.recordings import LEAK_DB
from stages.batches import in_batches
from stages.ingest import Gates
from stages.separate import separate

FULL = [RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), RuntimeError("CUDA failed with error out of memory"),
        RuntimeError("MPS backend Out Of Memory"), MemoryError()]


@dataclass
class Memory:
    """Holds items of so much weight in all; answers with the item itself."""

    batch: int
    room: float = float("inf")
    error: BaseException = FULL[0]
    calls: list[tuple[int, bool]] = field(default_factory=list)  # how many items, and whether they fitted

    def work(self, items: list[tuple[int, int]]) -> list[tuple[int, int]]:
        fits = sum(weight for _, weight in items) <= self.room
        self.calls.append((len(items), fits))
        if not fits:
            raise self.error
        return list(items)


def numbered(weights: list[int]) -> list[tuple[int, int]]:
    return list(enumerate(weights))


# -- batches


@given(st.lists(st.integers(1, 9), max_size=30), st.integers(1, 12))
def test_where_memory_is_enough_every_batch_but_the_last_is_full(weights, batch):
    engine = Memory(batch)
    assert in_batches(engine, numbered(weights), engine.work) == numbered(weights)
    sizes = [count for count, _ in engine.calls]
    assert sum(sizes) == len(weights) and all(size == batch for size in sizes[:-1]) and all(1 <= size <= batch for size in sizes)


@given(st.lists(st.integers(1, 12), max_size=30), st.integers(1, 12), st.integers(1, 20), st.sampled_from(FULL))
def test_what_runs_out_of_memory_is_halved_and_stays_so_and_only_what_does_not_fit_alone_is_rejected(weights, batch, room, error):
    engine = Memory(batch, room, error)
    answers = in_batches(engine, numbered(weights), engine.work)
    assert len(answers) == len(weights)
    for (n, weight), answer in zip(numbered(weights), answers):
        if weight > room:
            assert isinstance(answer, Rejected) and "out of memory" in str(answer)
        else:
            assert answer == (n, weight)
    most = batch
    for count, fits in engine.calls:
        assert 1 <= count <= most
        most = most if fits else max(1, count // 2)


def test_a_batch_is_halved_once_for_each_time_that_it_does_not_fit():
    engine = Memory(8, room=3)
    in_batches(engine, numbered([1] * 9), engine.work)
    assert engine.calls == [(8, False), (4, False), (2, True), (2, True), (2, True), (2, True), (1, True)]


def test_an_engine_that_says_no_batch_is_given_one_at_a_time():
    sizes = []
    assert in_batches(object(), [3, 1, 2], lambda some: sizes.append(len(some)) or some) == [3, 1, 2] and sizes == [1, 1, 1]


@pytest.mark.parametrize("error", [RuntimeError("device-side assert triggered"), RuntimeError(), ValueError("out of memory"), Rejected("out of memory"),
                                   KeyError("memory")])
def test_any_other_error_goes_through_at_once(error):
    engine = Memory(4, room=0, error=error)
    with pytest.raises(type(error)) as raised:
        in_batches(engine, numbered([1] * 9), engine.work)
    assert raised.value is error and engine.calls == [(4, False)]


@pytest.mark.parametrize(("given_", "told"), [([1, 2], "2 answers to 3 items"), ([1, 2, 3, 4], "4 answers to 3 items"), ([], "0 answers to 3 items")])
def test_a_wrong_number_of_answers_is_told_with_the_engine(given_, told):
    with pytest.raises(RunError, match=f"Memory gave {told}"):
        in_batches(Memory(3), numbered([1] * 5), lambda some: given_)


def test_no_items_ask_nobody():
    assert in_batches(None, [], lambda some: 1 / 0) == []


def test_what_watches_stands_around_each_call_that_fits_or_not():
    engine, seen = Memory(4, room=2), []

    @contextlib.contextmanager
    def watch(count: int) -> Iterator[None]:
        calls = len(engine.calls)
        try:
            yield
        finally:
            seen.append((count, len(engine.calls) - calls))

    in_batches(engine, numbered([1, 1, 1, 5, 1]), engine.work, watch)
    assert seen == [(count, 1) for count, _ in engine.calls] and seen[0] == (4, 1)


def test_rejected_items_are_answers_like_others():
    no = Rejected("too faint")
    assert in_batches(Memory(3), [1, 2], lambda some: [no if one == 1 else one for one in some]) == [no, 2]


# -- windows of recordings that are separated together

RATE = 16_000


def tones(*pitches: float, level: float = 0.1, seconds: float = 0.5) -> np.ndarray:
    time = np.arange(round(seconds * RATE)) / RATE
    return (level * sum(np.sin(2 * np.pi * pitch * time) for pitch in pitches))[None].astype(np.float32)


@dataclass
class Bands:
    """A separator that gives the lower band and calls all else the rest; it refuses those of one pitch, and has room for so many."""

    tier: str = "real"
    batch: int = 4
    room: int = 99
    share: float = 1.0  # of the lower band that it finds
    refuses: float | None = None  # Hz: of a recording whose strongest tone is this

    def separate(self, recordings: list[np.ndarray], rate: int) -> list[dict[str, np.ndarray] | Rejected]:
        if len(recordings) > self.room:
            raise RuntimeError("out of memory")
        return [self._apart(audio, rate) for audio in recordings]

    def _apart(self, audio: np.ndarray, rate: int) -> dict[str, np.ndarray] | Rejected:
        spectrum, pitches = np.fft.rfft(audio), np.fft.rfftfreq(audio.shape[1], 1 / rate)
        if pitches[np.argmax(np.abs(spectrum[0]))] == self.refuses:
            return Rejected("it is not for me")
        low = np.fft.irfft(spectrum * (pitches < 1_000), audio.shape[1]).astype(np.float32) * np.float32(self.share)
        return {"low": low, "rest": audio - low}


def windows(*recordings: np.ndarray) -> list[tuple[Clip, np.ndarray]]:
    return [(Clip(f"{n}.flac", 0.0, audio.shape[1] / RATE, 0, "music", "real", role="stem"), audio) for n, audio in enumerate(recordings)]


def together(todo: list[tuple[Clip, np.ndarray]], separator: Bands) -> list[list[tuple[Clip, np.ndarray | None]]]:
    return separate(todo, RATE, separator, Gates())


MANY = [tones(200 + 100 * n, 3_000, level=0.1 + 0.02 * n, seconds=0.5 + 0.1 * (n % 3)) for n in range(5)] + [np.zeros((1, 800), np.float32), tones(4_000)]


@pytest.mark.parametrize("separator", [Bands(), Bands(batch=1), Bands(room=1), Bands(batch=99, share=0.9), Bands(refuses=400.0)])
def test_many_windows_give_what_each_gives_alone(separator):
    todo = windows(*MANY)
    for found, one in zip(together(todo, separator), todo, strict=True):
        (alone,) = together([one], separator)
        assert [clip for clip, _ in found] == [clip for clip, _ in alone]
        assert all(a is b is None or np.array_equal(a, b) for (_, a), (_, b) in zip(found, alone))


def test_a_window_that_the_separator_rejects_costs_only_itself():
    todo = windows(tones(200, 3_000), tones(400), tones(300, 3_000))
    first, (refused,), last = together(todo, Bands(refuses=400.0))
    assert refused == (Clip(**{**vars(todo[1][0]), "reason": "it is not for me"}), None)
    assert all([clip.part for clip, _ in found] == ["low", "rest"] and found[0][0].reason is None for found in (first, last))


def test_a_window_that_memory_cannot_hold_costs_only_itself():
    class Short(Bands):
        """Has memory for half a second."""

        def separate(self, recordings, rate):
            if sum(audio.shape[1] for audio in recordings) > rate // 2:
                raise RuntimeError("CUDA out of memory")
            return super().separate(recordings, rate)

    found = together(windows(tones(200, 3_000), tones(300, 3_000, seconds=0.6), tones(400, 3_000)), Short())
    assert [stems[0][0].reason is None for stems in found] == [True, False, True] and "out of memory" in found[1][0][0].reason
    assert found[1][0][1] is None and [len(stems) for stems in found] == [2, 1, 2]


def test_a_leak_that_cannot_be_measured_is_not_known_and_no_stem_of_it_is_clean():
    """What is left once the lower band was taken is a tone of 3 kHz, which this one refuses."""
    known, unknown = together(windows(tones(200, 4_000), tones(200, 3_000)), Bands(refuses=3_000.0))
    (low, audio), (rest, other) = unknown
    assert (low.part, low.leak_db, low.reason) == ("low", None, None) and not (low.leak_db or 0.0) <= LEAK_DB
    assert known[0][0].leak_db <= LEAK_DB and rest.leak_db is None
    np.testing.assert_allclose(audio + other, tones(200, 3_000), rtol=0, atol=3e-7)


@given(st.floats(150, 900), st.floats(1_500, 7_000), st.floats(0.05, 0.5), st.sampled_from([0.5, 0.9, 1.0]))
def test_a_separator_that_gives_a_rest_of_its_own_leaves_nothing_over(low, high, level, share):
    (found,) = together(windows(tones(low, level=level) + tones(high, level=0.1)), Bands(share=share))
    assert all(clip.separation_error_db <= -115 for clip, _ in found) and min(clip.separation_error_db for clip, _ in found) >= SILENT
    np.testing.assert_allclose(sum(stem for _, stem in found), tones(low, level=level) + tones(high, level=0.1), rtol=0, atol=3e-7)
