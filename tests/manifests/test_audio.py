"""What users have is decoded as it sounds, or refused with a reason; what is stored as FLAC comes back."""

import io
import os
from fractions import Fraction

import av
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from manifests.audio import Recordings, decode, decode_flac, encode_flac, probe, to_int16
from manifests.errors import Rejected

LOSSLESS = {"wav": "PCM_16", "flac": "PCM_24"}
BY_AV = {"m4a": "aac", "mp4": "aac", "webm": "libopus", "opus": "libopus"}
FIVE_ONE = (300, 500, 700, 60, 1100, 1300)  # Hz: left, right, centre, low-frequency effects, left and right surround


def tones(frequencies, rate: int, seconds: float, level: float = 0.2) -> np.ndarray:
    """A sine a channel: float32 (channels, samples)."""
    time = np.arange(round(rate * seconds)) / rate
    return np.stack([level * np.sin(2 * np.pi * f * time) for f in frequencies]).astype(np.float32)


def chirp(rate: int, seconds: float) -> np.ndarray:
    """Its pitch tells where in it one is."""
    time = np.arange(round(rate * seconds)) / rate
    return (0.3 * np.sin(2 * np.pi * (300 * time + 1500 * time**2 / seconds)))[None].astype(np.float32)


def write_av(path, audio: np.ndarray, rate: int, codec: str, delay: float = 0.0, picture: bool = False) -> str:
    """Encode by PyAV; the sound begins `delay` s into the file."""
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[audio.shape[0]]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        if picture:
            video = container.add_stream("mpeg4", rate=5, width=16, height=16, pix_fmt="yuv420p")
            for number in range(int(5 * audio.shape[1] / rate)):
                frame = av.VideoFrame.from_ndarray(np.full((16, 16, 3), 9 * number % 255, np.uint8))
                frame.pts, frame.time_base = number, Fraction(1, 5)
                container.mux(video.encode(frame))
            container.mux(video.encode(None))
        resampler = av.AudioResampler(format=stream.codec_context.format, layout=layout, rate=rate)
        for at in range(0, audio.shape[1], 1024):
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(audio[:, at : at + 1024]), format="fltp", layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, at + round(delay * rate), Fraction(1, rate)
            for ready in resampler.resample(frame):
                container.mux(stream.encode(ready))
        container.mux(stream.encode(None))
    return str(path)


def write(folder, kind: str, audio: np.ndarray, rate: int) -> str:
    path = folder / f"sound.{kind}"
    if kind in BY_AV:
        return write_av(path, audio, rate, BY_AV[kind], picture=kind == "mp4")
    soundfile.write(path, audio.T, rate, subtype=LOSSLESS.get(kind))
    return str(path)


def strengths(audio: np.ndarray, rate: int, frequencies) -> np.ndarray:
    """Amplitude of each frequency in each channel, over the middle half second: (channels, frequencies)."""
    middle = audio.shape[1] // 2
    cut = audio[:, middle - rate // 4 : middle + rate // 4]
    time = np.arange(cut.shape[1]) / rate
    return np.abs(cut @ np.exp(-2j * np.pi * np.outer(time, frequencies))) * 2 / cut.shape[1]


# -- decoding what is good


@pytest.mark.parametrize(("kind", "rate"), [
    *((kind, rate) for kind in ("wav", "flac", "ogg") for rate in (8_000, 11_025, 44_100, 96_000, 192_000)),
    *(("mp3", rate) for rate in (8_000, 22_050, 44_100, 48_000)), *(("m4a", rate) for rate in (8_000, 44_100, 96_000)),
    ("mp4", 44_100), ("webm", 48_000), ("webm", 16_000), ("opus", 48_000), ("opus", 8_000)])
def test_every_format_and_rate_sounds_as_it_was_made(tmp_path, kind, rate):
    path = write(tmp_path, kind, tones([440, 1000], rate, 1.5), rate)
    seconds, found, channels = probe(path)
    assert channels == 2 and found == (48_000 if kind == "webm" else rate) or kind == "opus"
    assert seconds == pytest.approx(1.5, abs=1 / rate if kind in LOSSLESS else 0.12)
    audio = decode(path, 0.0, seconds, 22_050, 2)
    assert audio.dtype == np.float32 and audio.flags["C_CONTIGUOUS"]
    assert audio.shape[1] == pytest.approx(1.5 * 22_050, abs=1 if kind in LOSSLESS else 0.12 * 22_050)
    np.testing.assert_allclose(strengths(audio, 22_050, [440, 1000]), [[0.2, 0], [0, 0.2]], atol=0.02)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW"])
def test_every_kind_of_wav(tmp_path, subtype):
    audio = tones([440], 16_000, 1.0)
    soundfile.write(tmp_path / "a.wav", audio.T, 16_000, subtype=subtype)
    got = decode(str(tmp_path / "a.wav"), 0, 1, 16_000, 1)
    np.testing.assert_allclose(got, audio, atol={"PCM_U8": 0.01, "ULAW": 0.01, "PCM_16": 1e-4}.get(subtype, 1e-6))


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 32_000, 44_100, 48_000, 88_200, 96_000, 192_000])
@pytest.mark.parametrize("wanted", [16_000, 44_100, 48_000])
def test_resampling_keeps_the_length_in_seconds(tmp_path, rate, wanted):
    path = write(tmp_path, "wav", tones([440], rate, 1.0), rate)
    assert decode(path, 0, 1, wanted, 1).shape == (1, wanted)


def test_resampling_lets_nothing_fold_down(tmp_path):
    path = write(tmp_path, "wav", tones([440, 15_000], 48_000, 1.0), 48_000)
    got = strengths(decode(path, 0, 1, 16_000, 2), 16_000, [440, 1000])
    np.testing.assert_allclose(got, [[0.2, 0], [0, 0]], atol=0.002)


@pytest.mark.parametrize("kind", ["wav", "flac", "m4a"])
def test_mono_is_repeated_and_stereo_averaged(tmp_path, kind):
    mono = write(tmp_path, kind, tones([440], 44_100, 1.0), 44_100)
    np.testing.assert_allclose(strengths(decode(mono, 0, 1, 44_100, 2), 44_100, [440]), [[0.2], [0.2]], atol=0.01)
    stereo = write(tmp_path, kind, tones([440, 900], 44_100, 1.0), 44_100)
    np.testing.assert_allclose(strengths(decode(stereo, 0, 1, 44_100, 1), 44_100, [440, 900]), [[0.1, 0.1]], atol=0.01)


@pytest.mark.parametrize("kind", ["wav", "flac", "m4a", "opus"])
@pytest.mark.parametrize("channels", [1, 2])
def test_five_one_is_mixed_down_with_the_centre_in_the_middle_and_without_lfe(tmp_path, kind, channels):
    path = write(tmp_path, kind, tones(FIVE_ONE, 48_000, 1.0), 48_000)
    seconds, _, found = probe(path)
    assert found == 6
    got = strengths(decode(path, 0, min(seconds, 1.0), 48_000, channels), 48_000, FIVE_ONE)
    half = np.sqrt(0.5)
    expected = np.array([[1, 0, half, 0, half, 0], [0, 1, half, 0, 0, half]]) * 0.2 / (1 + 2 * half)
    np.testing.assert_allclose(got, expected if channels == 2 else expected.mean(axis=0, keepdims=True), atol=0.006)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_a_window_of_a_lossless_file_is_that_part_of_it(tmp_path_factory, data):
    kind, rate = data.draw(st.sampled_from(["wav", "flac"])), data.draw(st.sampled_from([8_000, 11_025, 44_100]))
    path = write(tmp_path_factory.mktemp("w"), kind, chirp(rate, 1.0), rate)
    start = data.draw(st.integers(0, rate - 10))
    end = data.draw(st.integers(start + 1, rate))
    whole = decode(path, 0, 1, rate, 1)
    np.testing.assert_array_equal(decode(path, start / rate, end / rate, rate, 1), whole[:, start:end])


@pytest.mark.parametrize("kind", ["ogg", "mp3", "m4a", "mp4", "webm", "opus"])
@pytest.mark.parametrize(("start", "end"), [(0.0, 1.0), (0.4, 1.1), (2.5, 3.5), (4.0, 4.75)])
def test_a_window_of_a_lossy_file_is_where_it_is_asked_for(tmp_path, kind, start, end):
    rate = 48_000
    made = chirp(rate, 5.0)
    got = decode(write(tmp_path, kind, made, rate), start, end, rate, 1)
    assert got.shape[1] == pytest.approx((end - start) * rate, abs=2)
    expected = made[0, round(start * rate) : round(end * rate)]
    inner = got[0, 4800:-4800]  # may shift by up to 0.1 s to either side
    match = np.correlate(expected, inner, mode="valid")
    shift = (np.argmax(match) - 4800) / rate
    assert abs(shift) < 0.035  # of what an encoder itself delays
    assert match.max() / (np.linalg.norm(inner) ** 2) == pytest.approx(1, abs=0.1)


def test_a_window_past_the_end_is_what_there_is(tmp_path):
    path = write(tmp_path, "wav", chirp(8_000, 1.0), 8_000)
    assert decode(path, 0.5, 3.0, 8_000, 1).shape == (1, 4_000)
    with pytest.raises(Rejected):
        decode(path, 2.0, 3.0, 8_000, 1)


@pytest.mark.parametrize("kind", ["wav", "mp3", "m4a", "webm"])
def test_open_files_are_read_as_paths_are(tmp_path, kind):
    path = write(tmp_path, kind, chirp(48_000, 2.0), 48_000)
    with open(path, "rb") as file:
        found = probe(file)
    assert found == probe(path)
    with open(path, "rb") as file:
        np.testing.assert_array_equal(decode(file, 0.5, 1.5, 22_050, 1), decode(path, 0.5, 1.5, 22_050, 1))


@pytest.mark.parametrize("kind", ["mp4", "webm"])
def test_sound_that_begins_late_in_its_file_is_still_good(tmp_path, kind):
    path = write_av(tmp_path / f"late.{kind}", tones([440], 48_000, 2.0), 48_000, BY_AV[kind], delay=3.0)
    audio = decode(path, 0.0, probe(path)[0], 48_000, 1)
    assert (np.abs(audio) > 0.02).sum() > 1.5 * 48_000


@pytest.mark.parametrize("kind", ["wav", "m4a"])
@pytest.mark.parametrize("name", ["ü 雨 #1 %20", os.fsdecode(b"\xff")], ids=["letters", "bytes"])
def test_a_name_with_other_letters_is_a_name(tmp_path, kind, name):
    path = str(tmp_path / f"{name}.{kind}")
    os.rename(write(tmp_path, kind, tones([440], 44_100, 1.0), 44_100), path)
    try:
        assert probe(path)[1] == 44_100
        assert decode(path, 0, 0.5, 44_100, 1).shape == (1, 22_050)
    except Rejected as rejected:  # what is no text at all may be refused
        assert "\udcff" in name and str(rejected)


# -- refusing what is bad


def refused(path: str, seconds: float = 3.0) -> str:
    """The reason for which a file is refused, when it is probed or when it is decoded."""
    with pytest.raises(Rejected) as caught:
        probe(path)
        decode(path, 0.0, seconds, 16_000, 1)
    assert str(caught.value).strip()
    return str(caught.value)


# A webm may end up to a tenth early: encoders round what they say of its length.
@pytest.mark.parametrize(("kind", "share"), [
    *((kind, share) for kind in ("wav", "flac", "ogg", "mp3", "m4a", "webm", "opus") for share in (0.3, 0.6)),
    *((kind, 0.9) for kind in ("wav", "flac", "ogg", "mp3", "m4a", "opus"))])
def test_truncated_files_are_refused(tmp_path, kind, share):
    rng = np.random.default_rng(0)
    path = write(tmp_path, kind, (0.1 * rng.standard_normal((1, 144_000))).astype(np.float32), 48_000)
    with open(path, "r+b") as file:
        file.truncate(int(share * os.path.getsize(path)))
    refused(path)


@pytest.mark.parametrize("kind", ["wav", "flac", "ogg", "mp3", "m4a", "mp4", "webm", "txt", "raw", "aiff", ""])
@pytest.mark.parametrize("content", [b"", b"These are words, not sounds.\n" * 100, bytes(5000), b"RIFF\x24\x00\x00\x00WAVE"])
def test_what_is_not_audio_is_refused(tmp_path, kind, content):
    (tmp_path / f"x.{kind}").write_bytes(content)
    refused(str(tmp_path / f"x.{kind}"))


def test_noise_bytes_are_refused_or_decoded_and_never_crash(tmp_path):
    rng = np.random.default_rng(0)
    for n in range(30):
        head = [b"", b"RIFF", b"fLaC", b"OggS", b"ID3\x04", b"\xff\xfb\x90"][n % 6]
        (tmp_path / "x").write_bytes(head + rng.bytes(4000))
        try:
            seconds, _, _ = probe(str(tmp_path / "x"))
            decode(str(tmp_path / "x"), 0.0, min(seconds, 60.0), 16_000, 1)
        except Rejected as rejected:
            assert str(rejected)


@pytest.mark.parametrize("kind", ["wav", "flac", "ogg", "mp3", "m4a"])
def test_a_flipped_stretch_is_refused_or_decoded_and_never_crashes(tmp_path, kind):
    path = write(tmp_path, kind, chirp(44_100, 1.0), 44_100)
    good = open(path, "rb").read()
    rng = np.random.default_rng(1)
    for _ in range(12):
        at = int(rng.integers(0, len(good) - 40))
        with open(path, "wb") as file:
            file.write(good[:at] + rng.bytes(40) + good[at + 40 :])
        try:
            seconds, _, _ = probe(path)
            audio = decode(path, 0.0, min(seconds, 2.0), 16_000, 1)
            assert np.isfinite(audio).all()
        except Rejected as rejected:
            assert str(rejected)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_finite_are_refused(tmp_path, value):
    audio = tones([440], 16_000, 1.0)
    audio[0, 9000] = value
    soundfile.write(tmp_path / "a.wav", audio.T, 16_000, subtype="FLOAT")
    assert "finite" in refused(str(tmp_path / "a.wav"), 1.0)
    assert decode(str(tmp_path / "a.wav"), 0, 0.5, 16_000, 1).shape == (1, 8000)


def test_a_folder_and_a_dangling_link_are_refused(tmp_path):
    (tmp_path / "x.wav").mkdir()
    refused(str(tmp_path / "x.wav"))
    (tmp_path / "y.wav").symlink_to(tmp_path / "nowhere.wav")
    refused(str(tmp_path / "y.wav"))
    refused(str(tmp_path / "z.wav"))


def test_a_film_without_sound_is_refused(tmp_path):
    with av.open(str(tmp_path / "x.mp4"), "w") as container:
        video = container.add_stream("mpeg4", rate=5, width=16, height=16, pix_fmt="yuv420p")
        frame = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8))
        container.mux(video.encode(frame))
        container.mux(video.encode(None))
    assert "no audio stream" in refused(str(tmp_path / "x.mp4"))


def test_a_flac_that_does_not_tell_its_length_is_decoded_or_refused(tmp_path):
    path = write(tmp_path, "flac", chirp(44_100, 1.0), 44_100)
    data = bytearray(open(path, "rb").read())
    data[21] &= 0xF0
    data[22:26] = bytes(4)  # STREAMINFO's total samples
    with open(path, "wb") as file:
        file.write(data)
    try:
        seconds, _, _ = probe(path)
        audio = decode(path, 0.0, seconds, 44_100, 1)
    except Rejected as rejected:
        assert str(rejected)
    else:
        assert seconds == pytest.approx(1.0) and audio.shape == (1, 44_100)


@pytest.mark.parametrize("rate", [1, 100, 3_999, 400_000, 2_000_000_000])
def test_a_rate_that_makes_no_sense_is_refused(tmp_path, rate):
    soundfile.write(tmp_path / "a.wav", np.zeros((10, 1)), rate)
    assert "sample rate" in refused(str(tmp_path / "a.wav"))


@pytest.mark.parametrize("rate", [8_000, 48_000, 96_000])
@pytest.mark.parametrize("samples", [0, 1, 2])
def test_one_sample_is_one_sample_or_refused(tmp_path, rate, samples):
    soundfile.write(tmp_path / "a.wav", np.full((samples, 1), 0.5), 48_000)
    try:
        audio = decode(str(tmp_path / "a.wav"), 0, 1, rate, 1)
    except Rejected as rejected:
        assert "no samples" in str(rejected)
    else:
        assert audio.shape[1] > 0 and np.isfinite(audio).all()


# -- FLAC


int16 = arrays(np.int16, st.tuples(st.integers(1, 2), st.integers(1, 2000)), elements=st.integers(-32768, 32767), fill=st.integers(-3, 3))


@settings(max_examples=40, deadline=None)
@given(int16, st.sampled_from([8_000, 44_100, 192_000]))
def test_16_bit_flac_goes_round(audio, rate):
    data = encode_flac(audio, rate)
    assert data == encode_flac(audio, rate)
    with soundfile.SoundFile(io.BytesIO(data)) as sound:
        assert (sound.subtype, sound.samplerate, sound.channels) == ("PCM_16", rate, audio.shape[0])
    np.testing.assert_array_equal(decode_flac(data, dtype="int16"), audio)
    np.testing.assert_array_equal(decode_flac(data), audio.astype(np.float32) / 32768)


@settings(max_examples=40, deadline=None)
@given(arrays(np.float32, st.tuples(st.integers(1, 2), st.integers(1, 2000)), elements=st.floats(-0.9375, 0.9375, width=32), fill=st.just(0.1)))
def test_24_bit_flac_goes_round_within_a_step(audio):
    data = encode_flac(audio, 44_100)
    with soundfile.SoundFile(io.BytesIO(data)) as sound:
        assert sound.subtype == "PCM_24"
    again = decode_flac(data)
    assert again.shape == audio.shape and np.abs(again - audio).max() <= 2.0**-23
    np.testing.assert_array_equal(decode_flac(encode_flac(again, 44_100)), again)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 9_999), st.integers(1, 10_000), st.integers(1, 2))
def test_a_stretch_of_a_flac(start, length, channels):
    audio = np.random.default_rng(0).integers(-9000, 9000, (channels, 10_000)).astype(np.int16)
    got = decode_flac(encode_flac(audio, 8_000), start, length, "int16")
    np.testing.assert_array_equal(got, audio[:, start : start + length])


@settings(max_examples=60, deadline=None)
@given(arrays(np.float32, st.tuples(st.integers(1, 2), st.integers(1, 50)), elements=st.floats(-2, 2, width=32)))
def test_rounding_is_to_the_nearest_and_full_scale_clips(audio):
    rounded = to_int16(audio)
    assert rounded.dtype == np.int16
    inside = np.clip(audio.astype(np.float64) * 32768, -32768, 32767)
    assert np.abs(rounded - inside).max() <= 0.5


# -- a file read stretch by stretch


@pytest.mark.parametrize("kind", ["wav", "flac", "ogg", "mp3", "m4a"])
def test_stretches_of_an_open_recording_are_those_of_the_file(tmp_path, kind):
    paths = []
    for n in range(2):
        (tmp_path / str(n)).mkdir()
        paths.append(write(tmp_path / str(n), kind, chirp(44_100, 6.0) / (n + 1), 44_100))
    recordings = Recordings()
    for path, start, end in [(paths[0], 0, 2), (paths[0], 2, 4), (paths[1], 2, 4), (paths[0], 4, 5.5), (paths[0], 1, 2), (paths[0], 2, 3)]:
        np.testing.assert_allclose(recordings.decode(path, start, end, 44_100, 1), decode(path, start, end, 44_100, 1), atol=3e-7)
    recordings.close()


def test_an_open_recording_that_ends_early_does_not_spoil_the_next_stretch(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, chirp(16_000, 2.0)[0], 16_000)
    recordings = Recordings()
    with pytest.raises(Rejected, match="nothing to read"):
        recordings.decode(str(path), 5, 6, 16_000, 1)
    np.testing.assert_array_equal(recordings.decode(str(path), 1, 2, 16_000, 1), decode(str(path), 1, 2, 16_000, 1))


def test_a_format_that_cannot_seek_is_read_from_its_start(tmp_path):
    path = str(tmp_path / "a.wav")
    soundfile.write(path, chirp(8_000, 2.0)[0], 8_000, subtype="G721_32")
    for decoder in (decode, Recordings().decode):
        assert decoder(path, 0, 2, 8_000, 1).shape == (1, 16_000)
