"""A window of a recording becomes stems that sum to it, each with how clean it is."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from manifests.clip import Clip
from manifests.errors import Rejected, RunError
from manifests.loudness import SILENT, loudness, peak_dbfs
from stages.engines.hpss import Hpss
from stages.ingest import Gates
from stages.measure import bandwidth
from stages.separate import separate as separate_all

RATE = 16_000
WINDOW = Clip("talk.flac", 20.0, 23.0, 4, "music", "real", label="a street", caption="a whole street", transcript="all of it", license="cc0-1.0",
              group="talks", speaker="ann")


def tones(*pitches: float, level: float = 0.1, channels: int = 1, seconds: float = 3.0) -> np.ndarray:
    """(channels, samples); the second channel is quieter."""
    time = np.arange(round(seconds * RATE)) / RATE
    wave = level * sum(np.sin(2 * np.pi * pitch * time) for pitch in pitches)
    return np.stack([wave / (1 + channel) for channel in range(channels)]).astype(np.float32)


def low(channels: int = 1, level: float = 0.1) -> np.ndarray:
    return tones(200, 300, level=level, channels=channels)


def high(channels: int = 1, level: float = 0.1) -> np.ndarray:
    return tones(3_000, 4_100, level=level, channels=channels)


def band(audio: np.ndarray, first: float, last: float) -> np.ndarray:
    spectrum = np.fft.rfft(audio)
    pitches = np.fft.rfftfreq(audio.shape[1], 1 / RATE)
    return np.fft.irfft(spectrum * ((pitches >= first) & (pitches < last)), audio.shape[1]).astype(np.float32)


class OneByOne:
    """A separator that takes recordings one by one."""

    def separate(self, recordings: list[np.ndarray], rate: int) -> list[dict[str, np.ndarray]]:
        return [self.apart(audio) for audio in recordings]


def separate(clip: Clip, audio: np.ndarray, rate: int, separator: OneByOne) -> list[tuple[Clip, np.ndarray]]:
    """The stems of one window; raises `Rejected` with the reason that it has none."""
    (found,) = separate_all([(clip, audio)], rate, separator, Gates())
    if found[0][0].reason is not None:
        raise Rejected(found[0][0].reason)
    return found


@dataclass
class Bands(OneByOne):
    """A separator that finds a band of frequencies for each label, whole."""

    bands: dict[str, tuple[float, float]] = field(default_factory=lambda: {"low": (0, 1_000), "high": (1_000, 9_000)})
    tier: str = "real"

    def apart(self, audio: np.ndarray) -> dict[str, np.ndarray]:
        return {label: band(audio, *edges) for label, edges in self.bands.items()}


class Halves(Bands):
    """A separator that tells nothing apart: half of everything to either label."""

    def apart(self, audio: np.ndarray) -> dict[str, np.ndarray]:
        return {"low": audio / 2, "high": audio / 2}


@dataclass
class Gives(OneByOne):
    """A separator that gives what it was told, and of anything else nothing."""

    stems: dict[str, np.ndarray]
    tier: str = "real"

    def apart(self, audio: np.ndarray) -> dict[str, np.ndarray]:
        stems, self.stems = self.stems, {}
        return stems


def by_part(found: list[tuple[Clip, np.ndarray]]) -> dict[str, tuple[Clip, np.ndarray]]:
    assert len({clip.part for clip, _ in found}) == len(found)
    return {clip.part: (clip, audio) for clip, audio in found}


def assert_whole(found: list[tuple[Clip, np.ndarray]], audio: np.ndarray) -> None:
    """The stems sum to the recording, to the rounding of float32."""
    assert all(stem.dtype == np.float32 and stem.shape == audio.shape for _, stem in found)
    np.testing.assert_allclose(sum(stem for _, stem in found), audio, rtol=0, atol=3e-7 * max(1.0, np.abs(audio).max()))


# -- what a stem is told to be


@pytest.mark.parametrize("channels", [1, 2])
def test_a_recording_gives_a_clip_a_stem(channels):
    audio = low(channels) + high(channels)
    found = separate(WINDOW, audio, RATE, Bands())
    assert [clip.label for clip, _ in found] == [clip.part for clip, _ in found] == ["low", "high"]
    assert_whole(found, audio)
    np.testing.assert_allclose(found[0][1], low(channels), atol=1e-3)
    for clip, _ in found:
        assert (clip.role, clip.piece, clip.reason) == ("stem", "talk.flac [20 s, 23 s]", None)
        assert (clip.uri, clip.start, clip.end, clip.source, clip.domain, clip.license, clip.group, clip.speaker) == (
            "talk.flac", 20.0, 23.0, 4, "music", "cc0-1.0", "talks", "ann")
        assert (clip.caption, clip.transcript) == ("", "")  # they tell of the whole recording


def test_a_stem_is_measured():
    (clip, audio), _ = separate(WINDOW, low() + high(), RATE, Bands())
    assert clip.duration == 3.0 and clip.active_ratio == 1.0 and clip.clip_ratio == 0.0
    assert clip.peak_dbfs == peak_dbfs(audio) and clip.lufs == loudness(audio, RATE) and clip.bandwidth_hz == bandwidth(audio, RATE)
    assert clip.dc_offset < 1e-3 and clip.noise_floor_db == pytest.approx(-20, abs=0.5)


def test_no_stem_is_turned_away_for_how_it_sounds():
    """What ingest would refuse of a recording, an offset and clipping, is no fault of one stem, which the others need."""
    audio = np.clip(low() + high() + np.float32(0.02), -0.1, 1)
    found = separate(WINDOW, audio, RATE, Bands())
    assert all(clip.reason is None and clip.lufs is not None for clip, _ in found) and found[0][0].dc_offset > 0.01
    assert_whole(found, audio)


def test_windows_of_a_recording_are_pieces_of_their_own():
    starts = [0.0, 10.0, 10.5, 123_456.0, 2_000_000.0, 2_000_001.0]
    pieces = {separate(replace(WINDOW, start=start, end=start + 3), low() + high(), RATE, Bands())[0][0].piece for start in starts}
    assert len(pieces) == len(starts)


@pytest.mark.parametrize(("recording", "engine", "given"), [
    ("real", "real", "real"), ("real", "demo", "demo"), ("synthetic", "real", "synthetic"), ("synthetic", "demo", "demo"), ("demo", "real", "demo")])
def test_a_stem_is_of_the_lower_tier(recording, engine, given):
    found = separate(replace(WINDOW, tier=recording), low() + high(), RATE, Bands(tier=engine))
    assert {clip.tier for clip, _ in found} == {given}


# -- what is left over


def test_nothing_left_over_is_told_so():
    found = separate(WINDOW, low() + high(), RATE, Gives({"low": low(), "high": high()}))
    assert len(found) == 2 and {clip.separation_error_db for clip, _ in found} == {SILENT}


def test_a_rest_is_one_more_stem_without_a_label():
    audio = low() + high() + tones(1_500, level=0.01)
    found = separate(WINDOW, audio, RATE, Bands({"low": (0, 1_000), "high": (2_000, 9_000)}))
    stems = by_part(found)
    assert [*stems] == ["low", "high", "rest"]
    assert_whole(found, audio)
    rest, heard = stems["rest"]
    np.testing.assert_allclose(heard, tones(1_500, level=0.01), atol=1e-3)
    assert (rest.label, rest.role, rest.leak_db, rest.reason) == ("", "stem", None, None) and rest.lufs == loudness(heard, RATE)
    for clip, _ in found:
        assert clip.separation_error_db == pytest.approx(10 * np.log10(0.01**2 / (4 * 0.1**2)), abs=0.1)
        assert clip.piece == rest.piece


def test_a_rest_that_cannot_be_heard_is_no_stem_but_is_not_lost():
    faint = tones(1_500, level=5e-5)  # a peak of -86 dBFS
    audio = low(level=0.2) + high() + faint
    found = separate(WINDOW, audio, RATE, Gives({"high": high(), "low": low(level=0.2)}))
    assert [clip.part for clip, _ in found] == ["high", "low"]
    assert_whole(found, audio)
    np.testing.assert_array_equal(found[0][1], high())
    assert found[0][0].separation_error_db == pytest.approx(10 * np.log10(5e-5**2 / (2 * 0.1**2 + 2 * 0.2**2)), abs=0.5)


def test_a_rest_that_is_hardly_heard_is_kept_and_measured():
    """Under the level at which ingest calls a frame silent."""
    audio = low() + high() + tones(1_500, level=9e-5)  # a peak of -81 dBFS
    found = separate(WINDOW, audio, RATE, Gives({"low": low(), "high": high()}))
    rest, _ = by_part(found)["rest"]
    assert rest.reason is None and rest.lufs is not None and rest.bandwidth_hz is not None


@pytest.mark.parametrize("label", ["", "rest"])
def test_what_the_separator_names_no_more_than_a_rest_is_the_rest(label):
    found = separate(WINDOW, low() + high(), RATE, Bands({"low": (0, 1_000), label: (1_000, 9_000)}))
    assert [(clip.label, clip.part) for clip, _ in found] == [("low", "low"), ("", "rest")]
    assert_whole(found, low() + high())


@pytest.mark.parametrize(("under", "stems"), [(26, ["low", "high"]), (34, ["low", "rest"])])
def test_a_stem_over_30_lu_under_its_recording_goes_into_the_rest(under, stems):
    quiet = high()
    quiet = quiet * np.float32(10 ** ((loudness(low(), RATE) - under - loudness(quiet, RATE)) / 20))
    found = separate(WINDOW, low() + quiet, RATE, Bands())
    assert [clip.part for clip, _ in found] == stems
    assert_whole(found, low() + quiet)
    np.testing.assert_allclose(found[1][1], quiet, atol=1e-3)


# -- how clean a stem is


def test_a_stem_that_holds_all_there_is_leaks_nothing():
    for clip, _ in separate(WINDOW, low() + high(), RATE, Bands()):
        assert clip.leak_db < -60


def test_a_stem_of_half_of_everything_leaks():
    """Half of the recording is left, and half of that is found: a quarter of the power."""
    for clip, _ in separate(WINDOW, low() + high(), RATE, Halves()):
        assert clip.leak_db == pytest.approx(10 * np.log10(0.25), abs=0.01)


@pytest.mark.parametrize("left", [0.5, 0.1, 0.02])
def test_leak_is_what_was_left_behind_over_the_stem(left):
    class Timid(Bands):
        """Leaves a share of the low band behind, and takes it whole once it is all that there is of it."""

        def apart(self, audio: np.ndarray) -> dict[str, np.ndarray]:
            found = band(audio, 0, 1_000)
            return {"low": found * np.float32(1 - left) if np.abs(found).max() > 0.15 else found}

    found = by_part(separate(WINDOW, low() + high(), RATE, Timid()))
    assert found["low"][0].leak_db == pytest.approx(20 * np.log10(left / (1 - left)), abs=0.1) or left == 0.5
    assert (found["low"][0].leak_db > -20) == (left >= 0.1)


def test_a_stem_that_is_not_found_again_leaks_nothing():
    found = separate(WINDOW, low() + high(), RATE, Gives({"low": low()}))
    assert found[0][0].leak_db == SILENT


def test_the_embedded_separator_tells_strokes_from_a_chord():
    strokes = np.zeros((1, 3 * RATE), np.float32)
    for begin in range(RATE // 4, 3 * RATE, RATE // 2):
        strokes[0, begin : begin + 160] = 0.5 * np.random.default_rng(begin).standard_normal(160)
    audio = low() + strokes
    found = separate(WINDOW, audio, RATE, Hpss())
    assert_whole(found, audio)
    assert [clip.label for clip, _ in found] == ["percussion", "sustained sounds"]
    for clip, _ in found:
        assert clip.tier == "demo" and clip.separation_error_db == SILENT and SILENT <= clip.leak_db < 0


# -- what cannot be separated


def test_silence_is_rejected_before_any_separator_hears_it():
    class Deaf(Bands):
        def apart(self, audio: np.ndarray) -> dict[str, np.ndarray]:
            raise AssertionError("it was asked")

    with pytest.raises(Rejected, match="inaudible"):
        separate(WINDOW, np.zeros((1, RATE), np.float32), RATE, Deaf())


def test_a_recording_that_is_one_stem_asks_no_separator_of_nothing():
    class Touchy(Bands):
        """As a model that divides by the deviation of what it hears."""

        def apart(self, audio: np.ndarray) -> dict[str, np.ndarray]:
            return {"low": audio / audio.std() * audio.std()}

    ((clip, audio),) = separate(WINDOW, low(), RATE, Touchy())
    assert clip.leak_db == SILENT and np.isfinite(audio).all()


@pytest.mark.parametrize("stems", [{}, {"": low() + high()}, {"rest": low() + high()}])
def test_no_stem_with_a_label_is_rejected(stems):
    with pytest.raises(Rejected, match="no stem with a label"):
        separate(WINDOW, low() + high(), RATE, Gives(stems))


def test_stems_too_quiet_to_be_any_are_rejected_with_the_loudest():
    stems = {"bird": high(level=1e-3), "frog": high(level=2e-3)}
    with pytest.raises(Rejected, match=r"'frog', lies 3\d LU under the recording \(at most 30\)"):
        separate(WINDOW, low(level=0.2), RATE, Gives(stems))


def test_stems_that_are_not_finite_are_rejected():
    with pytest.raises(Rejected, match="'low'.*finite"):
        separate(WINDOW, low() + high(), RATE, Gives({"low": low() * np.float32(np.nan)}))


def test_a_separator_that_gives_another_shape_is_a_fault_of_the_run():
    with pytest.raises(RunError, match=r"'low'.*\(1, 47999\).*\(1, 48000\)"):
        separate(WINDOW, low() + high(), RATE, Gives({"low": low()[:, 1:]}))


@pytest.mark.parametrize("samples", [1, 50, 1_000, 5_000])
def test_a_window_of_any_length_sums_to_itself(samples):
    audio = (low() + high())[:, 7 : 7 + samples]
    found = separate(WINDOW, audio, RATE, Halves())
    assert_whole(found, audio)
    assert all(clip.lufs is not None and clip.duration == samples / RATE for clip, _ in found)
