"""A window becomes a measured clip in the role that it can have, or a row that says why not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyloudnorm
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.audio import decode_flac
from manifests.clip import Clip
from stages.engines import soundfont
from stages.ingest import Gates, ingest, store

RATE = 16_000
SCENE = 4.0  # s


def tone(seconds: float, rate: int = RATE, level: float = 0.3, frequency: float = 500) -> np.ndarray:
    return level * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)


def hush(seconds: float, rate: int = RATE, level: float = 1e-4) -> np.ndarray:
    return level * np.random.default_rng(1).standard_normal(round(seconds * rate))


def noise(seconds: float, rate: int = RATE, level: float = 0.1) -> np.ndarray:
    return level * np.random.default_rng(2).standard_normal(round(seconds * rate))


def burst(before: float = 1.0, active: float = 1.5, after: float = 1.0, rate: int = RATE, floor: float = 1e-4) -> np.ndarray:
    return np.concatenate([hush(before, rate, floor), tone(active, rate), hush(after, rate, floor)])


def stored(window: Clip, rate: int, channels: int, seconds: float, gates: Gates) -> list[tuple[Clip, bytes]]:
    """A window's clips as a part stores them."""
    return [(clip, b"") if clip.reason else store(clip, audio, rate) for clip, audio in ingest(window, rate, channels, seconds, gates)]


def taken(folder: Path, audio: np.ndarray, role: str = "", rate: int = RATE, gates: Gates | None = None, **known) -> tuple[Clip, bytes]:
    """Store audio, (samples,) or (samples, channels), as float wav and ingest it whole."""
    path = folder / "sound.wav"
    soundfile.write(path, audio, rate, subtype="FLOAT")
    window = Clip(str(path), 0.0, len(audio) / rate, 3, "sound", "synthetic", role=role, label="bell", **known)
    ((clip, flac),) = stored(window, rate, 1, SCENE, gates or Gates())
    assert bool(flac) == (clip.reason is None) == bool(clip.clip_id)
    return clip, flac


def refused(folder: Path, audio: np.ndarray, role: str = "", **more) -> str:
    clip, _ = taken(folder, audio, role, **more)
    assert clip.reason and clip.label == "bell" and clip.source == 3
    return clip.reason


# -- roles


@pytest.mark.parametrize("role", ["", "either", "event"])
def test_a_short_sound_over_a_low_floor_is_an_event_and_trimmed_to_it(tmp_path, role):
    clip, flac = taken(tmp_path, burst(), role)
    assert clip.role == "event" and clip.reason is None
    assert clip.start == pytest.approx(0.975, abs=0.03) and clip.end == pytest.approx(2.525, abs=0.03)
    assert clip.duration == pytest.approx(clip.end - clip.start) == decode_flac(flac).shape[1] / RATE
    assert clip.active_ratio == pytest.approx(1.5 / 3.5, abs=0.02)


@pytest.mark.parametrize("role", ["", "either", "background"])
def test_a_steady_sound_as_long_as_a_scene_is_a_background_and_left_whole(tmp_path, role):
    clip, flac = taken(tmp_path, noise(SCENE), role)
    assert clip.role == "background" and clip.active_ratio == 1.0
    assert (clip.start, clip.end, clip.duration) == (0.0, SCENE, SCENE)
    assert decode_flac(flac).shape == (1, SCENE * RATE)


def test_a_steady_sound_can_be_an_event_where_it_is_asked_for(tmp_path):
    assert taken(tmp_path, noise(SCENE), "event")[0].role == "event"
    assert taken(tmp_path, noise(2.0))[0].role == "event"


def test_what_is_no_background_by_a_moment_is_none(tmp_path):
    assert taken(tmp_path, noise(SCENE - 0.01))[0].role == "event"
    assert "3.99 s long (a scene is 4 s)" in refused(tmp_path, noise(SCENE - 0.01), "background")


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 80), st.integers(20, 200), st.integers(0, 80), st.sampled_from([8_000, 16_000, 22_050, 44_100]))
def test_trimming_keeps_all_that_sounds_and_little_else(tmp_path_factory, before, active, after, rate):
    """Times in frames of 25 ms; a frame more than the kept edge may stay on each side."""
    before, active, after = before * 0.025, active * 0.025, after * 0.025
    clip, flac = taken(tmp_path_factory.mktemp("t"), burst(before, active, after, rate), "event", rate, Gates(floor_db=0.0))
    whole = before + active + after
    assert before - 0.055 <= clip.start <= max(0, before - 0.020) + 1e-3
    assert min(whole, before + active + 0.020) - 1e-3 <= clip.end <= before + active + 0.055
    assert clip.duration == pytest.approx(clip.end - clip.start, abs=1e-9) and clip.end <= whole + 2 / rate


@pytest.mark.parametrize("rate", [11_025, 22_050, 44_100])
def test_an_event_late_in_a_long_recording_is_trimmed_where_it_is(tmp_path, rate):
    clip, _ = taken(tmp_path, burst(140.0, 1.0, 1.0, rate), "event", rate)
    assert clip.start == pytest.approx(139.975, abs=0.03)
    assert clip.end == pytest.approx(141.025, abs=0.03)


def test_a_window_inside_a_file_keeps_the_files_times(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.concatenate([noise(5.0), burst(), noise(5.0)]), RATE, subtype="FLOAT")
    window = Clip(str(tmp_path / "a.wav"), 5.0, 8.5, 0, "sound", "synthetic")
    ((clip, _),) = stored(window, RATE, 1, SCENE, Gates())
    assert clip.start == pytest.approx(5.975, abs=0.03) and clip.end == pytest.approx(7.525, abs=0.03)


# -- gates


def test_silence_is_refused(tmp_path):
    assert refused(tmp_path, np.zeros(RATE * 5)) == "silent or too quiet: peak at -120 dBFS"
    assert refused(tmp_path, tone(2.0, level=5e-5)) == "silent or too quiet: peak at -86 dBFS"


@pytest.mark.parametrize("samples", [1, 100, 1_000])
def test_a_moment_is_refused(tmp_path, samples):
    assert "too short" in refused(tmp_path, np.full(samples, 0.5) * (-1) ** np.arange(samples))


@pytest.mark.filterwarnings("error")
def test_one_sample_that_resampling_leaves_nothing_of_is_refused(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.full((1, 1), 0.5), 192_000)
    ((clip, flac),) = stored(Clip(str(tmp_path / "a.wav"), 0, 1, 0, "sound", "synthetic"), 8_000, 1, SCENE, Gates())
    assert clip.reason and flac == b""


def test_a_dc_offset_is_refused(tmp_path):
    assert refused(tmp_path, noise(SCENE) + 0.02).startswith("DC offset of 0.02")
    assert taken(tmp_path, noise(SCENE) + 0.005)[0].reason is None


def test_clipping_is_refused(tmp_path):
    loud = np.clip(noise(SCENE, level=0.5), -1, 1)
    assert refused(tmp_path, loud).startswith("clipped: 4.")
    assert taken(tmp_path, np.clip(noise(SCENE, level=0.25), -1, 1))[0].reason is None


def test_an_event_over_a_high_floor_is_refused(tmp_path):
    reason = refused(tmp_path, burst(floor=0.04), "event")
    assert "its noise floor lies 1" in reason and "at least 20 dB" in reason
    assert taken(tmp_path, burst(floor=0.008), "event")[0].role == "event"


@pytest.mark.parametrize("lead", [0.05, 0.075, 0.1, 0.2])
def test_an_event_cut_with_little_silence_has_a_low_floor_too(tmp_path, lead):
    clip, _ = taken(tmp_path, np.concatenate([hush(lead), tone(2.5)]), "event")
    assert clip.reason is None


def test_an_event_that_is_too_short_or_too_long_is_refused(tmp_path):
    assert "active for 0.30 s" in refused(tmp_path, burst(active=0.3), "event")
    assert "(from 0.5 to 6 s)" in refused(tmp_path, burst(active=7.0), "event")
    assert taken(tmp_path, burst(active=5.9), "event")[0].role == "event"


def test_a_background_with_holes_is_refused(tmp_path):
    audio = noise(6.0)
    audio[2 * RATE : 4 * RATE] *= 1e-3
    assert "active for 67% of the time (at least 90%)" in refused(tmp_path, audio, "background")


def test_what_can_be_nothing_says_why_for_each_role(tmp_path):
    audio = np.concatenate([tone(0.7), hush(3.0), tone(3.5)])
    reason = refused(tmp_path, audio)
    assert "no background: active for" in reason and "no event: active for" in reason


def test_gates_are_the_users(tmp_path):
    gates = Gates(event_seconds=(0.1, 10.0), floor_db=5.0, dc_offset=0.5, clip_ratio=1.0, background_active=0.1)
    for audio in (burst(active=0.3), burst(active=7.0), burst(floor=0.04), burst() + 0.1):
        assert taken(tmp_path, audio, "event", gates=gates)[0].role == "event"
    assert taken(tmp_path, burst(active=2.0), "background", gates=gates)[0].role == "background"


def test_a_track_passes_as_it_is(tmp_path):
    audio = np.concatenate([hush(1.0), tone(7.0), hush(1.0)])
    clip, flac = taken(tmp_path, audio, "track", piece="p")
    assert clip.role == "track" and clip.duration == 9.0 and decode_flac(flac).shape == (1, 9 * RATE)
    assert refused(tmp_path, np.zeros(9 * RATE), "track")


@pytest.mark.parametrize("content", [b"", b"These are words.\n" * 50, b"RIFF\x24\x00\x00\x00WAVE"])
def test_what_is_no_audio_is_a_row_with_a_reason(tmp_path, content):
    (tmp_path / "a.wav").write_bytes(content)
    window = Clip(str(tmp_path / "a.wav"), 0, 1, 0, "sound", "synthetic", label="dog")
    ((clip, flac),) = stored(window, RATE, 1, SCENE, Gates())
    assert clip == replace(window, reason=clip.reason) and clip.reason and flac == b""


def test_nan_is_a_row_with_a_reason(tmp_path):
    audio = noise(SCENE)
    audio[100] = np.nan
    assert "finite" in refused(tmp_path, audio)


@pytest.mark.parametrize(("level", "frequency"), [(2e-3, 15), (3e-4, 500)])
def test_every_clip_that_is_kept_can_be_set_to_a_loudness(tmp_path, level, frequency):
    clip, _ = taken(tmp_path, tone(2.0, level=level, frequency=frequency), "event")
    assert clip.reason or clip.lufs > -120


# -- measures


@settings(max_examples=15, deadline=None)
@given(st.floats(0.02, 0.9), st.floats(0.6, 3.0))
def test_levels_are_those_of_the_clip(tmp_path_factory, level, seconds):
    clip, flac = taken(tmp_path_factory.mktemp("l"), burst(0.5, round(seconds, 1), 0.5) * level, "event")
    audio = decode_flac(flac).astype(np.float64) * 10 ** (-clip.gain_db / 20)
    assert clip.peak_dbfs == pytest.approx(20 * np.log10(np.abs(audio).max()), abs=0.01)
    whole = audio[0, : audio.shape[1] // 1600 * 1600]
    assert clip.lufs == pytest.approx(pyloudnorm.Meter(RATE, filter_class="DeMan").integrated_loudness(whole), abs=0.1)
    assert clip.noise_floor_db == pytest.approx(20 * np.log10(1e-4 * level), abs=1.5)
    assert clip.clip_ratio == 0 and clip.dc_offset < 1e-3


def test_what_is_stored_peaks_at_minus_1_dbfs_and_gives_the_samples_again(tmp_path):
    audio = noise(SCENE, level=0.01)
    clip, flac = taken(tmp_path, audio)
    stored = decode_flac(flac)
    assert 20 * np.log10(np.abs(stored).max()) == pytest.approx(-1.0, abs=0.002)
    np.testing.assert_allclose(stored[0] * 10 ** (-clip.gain_db / 20), audio, atol=2e-8)


# -- identity


def identity(path: Path, start: float = 0.0, end: float = SCENE, **known) -> str:
    ((clip, _),) = stored(Clip(str(path), start, end, 0, "sound", "synthetic", **known), RATE, 1, SCENE, Gates())
    assert clip.reason is None
    return clip.clip_id


def test_the_same_samples_are_the_same_clip_whatever_holds_them(tmp_path):
    audio = (noise(SCENE) * 32768).round() / 32768
    ids = set()
    for kind, subtype in (("wav", "PCM_16"), ("wav", "PCM_24"), ("wav", "FLOAT"), ("flac", "PCM_16"), ("flac", "PCM_24"), ("aiff", "PCM_16")):
        path = tmp_path / f"{subtype}.{kind}"
        soundfile.write(path, audio, RATE, subtype=subtype)
        ids.add(identity(path))
    stereo = tmp_path / "stereo.wav"
    soundfile.write(stereo, np.stack([audio, audio], axis=1), RATE, subtype="PCM_16")
    longer = tmp_path / "longer.flac"
    soundfile.write(longer, np.concatenate([tone(1.0), audio, tone(1.0)]), RATE, subtype="PCM_16")
    ids |= {identity(stereo), identity(longer, 1.0, 1.0 + SCENE), identity(stereo, label="dog", license="cc0-1.0")}
    assert len(ids) == 1


def test_other_samples_are_another_clip(tmp_path):
    audio = (noise(SCENE) * 32768).round() / 32768
    ids = []
    for n, other in enumerate((audio, audio * 0.5, audio[::-1], np.roll(audio, 1), audio + (np.arange(len(audio)) == 99) / 32768)):
        soundfile.write(tmp_path / f"{n}.wav", other, RATE, subtype="PCM_24")
        ids.append(identity(tmp_path / f"{n}.wav"))
    assert len(set(ids)) == 5 and all(len(name) == 16 and int(name, 16) >= 0 for name in ids)


def test_the_same_event_in_other_silence_is_the_same_clip(tmp_path):
    """Trimming looks at frames, so a shift by whole frames changes nothing."""
    sound = np.concatenate([np.zeros(400), tone(1.0), np.zeros(400)])
    for n, lead in enumerate((0.5, 1.0)):
        soundfile.write(tmp_path / f"{n}.wav", np.concatenate([np.zeros(round(lead * RATE)), sound, np.zeros(RATE)]), RATE, subtype="PCM_16")
    one, other = (identity(tmp_path / f"{n}.wav", 0, 9.0, role="event") for n in range(2))
    assert one == other


# -- where it comes from


def test_a_window_under_a_uri_is_read_there(tmp_path):
    import fsspec

    clip, flac = taken(tmp_path, noise(SCENE))
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/ingest/a.wav", (tmp_path / "sound.wav").read_bytes())
    ((again, same),) = stored(Clip("memory://ingest/a.wav", 0, SCENE, 0, "sound", "synthetic"), RATE, 1, SCENE, Gates())
    assert (again.clip_id, same) == (clip.clip_id, flac)


def test_a_piece_of_the_soundfont_gives_its_tracks(tmp_path):
    found = list(stored(soundfont.piece(1, 0, 5.0, source=0), RATE, 1, SCENE, Gates()))
    assert len(found) > 2 and len({clip.clip_id for clip, _ in found}) == len(found)
    for clip, flac in found:
        assert clip.reason is None and (clip.role, clip.tier) == ("track", "demo")
        assert decode_flac(flac).shape == (1, 5 * RATE)


@pytest.mark.parametrize("channels", [1, 2])
def test_clips_have_the_runs_channels_and_rate(tmp_path, channels):
    soundfile.write(tmp_path / "a.wav", np.stack([noise(SCENE, 44_100), tone(SCENE, 44_100)], axis=1), 44_100)
    ((clip, flac),) = stored(Clip(str(tmp_path / "a.wav"), 0, SCENE, 0, "sound", "synthetic"), RATE, channels, SCENE, Gates())
    assert clip.role == "background" and decode_flac(flac).shape == (channels, SCENE * RATE)
