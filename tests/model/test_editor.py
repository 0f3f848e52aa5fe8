"""What comes back has the length, rate, channels and level of what went in, without a seam, the same for the same seed."""

import dataclasses

import numpy as np
import pytest
import soundfile

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from tiny_model import RATE, WINDOW, make_echo, noise, sizes  # noqa: E402

from model import windows  # noqa: E402
from model.audio_omni import AudioOmni  # noqa: E402
from model.editor import Editor  # noqa: E402
from model.sizes import SamplingSizes  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


def tones(seconds: float, rate: int, channels: int) -> np.ndarray:
    """Another chord in each channel, below 3 kHz."""
    at = np.arange(round(seconds * rate)) / rate
    return np.stack([sum(np.sin(2 * np.pi * f * (1 + channel / 7) * at + f) for f in (211, 733, 1_901)) / 6 for channel in range(channels)]).astype(np.float32)


def decibels(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(20 * np.log10(np.abs(found - wanted).max() / np.abs(wanted).max()))


@pytest.mark.parametrize(("rate", "channels", "samples"), [
    (16_000, 1, 1), (16_000, 1, WINDOW), (16_000, 2, 16_001), (44_100, 2, 100_001), (8_000, 1, 3), (48_000, 6, 20_000), (22_050, 3, 30_011), (192_000, 1, 5),
])
def test_length_rate_and_channels_are_those_of_the_input(editor, rate, channels, samples):
    made = editor.edit(noise(samples, channels), "Add rain.", rate=rate)
    assert made.rate == rate and made.audio.shape == (channels, samples) and made.audio.dtype == np.float32
    assert np.isfinite(made.audio).all() and made.audio.any()


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_a_long_recording_has_no_seam(echo, channels):
    """11 windows; what is to stay stays in every sample, at the seams too, whatever the noise."""
    source = noise(round(9.7 * RATE), channels) + tones(9.7, RATE, channels)
    assert len(windows.starts(source.shape[1], echo.model.sizes.edit_window, 64)) == 11
    made = echo.edit(source, "Leave it.", rate=RATE, steps=1, guidance=1.0, seed=5)
    assert decibels(made.audio, source) < -80


def test_what_stays_is_kept_through_other_rates_and_in_each_channel(echo):
    for rate, channels in ((44_100, 2), (48_000, 1), (8_000, 5)):
        source = tones(2.5, rate, channels)
        made = echo.edit(source, "Leave it.", rate=rate, steps=1, guidance=1.0).audio
        middle = slice(rate // 50, -rate // 50)  # what a resampler makes of a sudden begin is not the model's
        assert decibels(made[:, middle], source[:, middle]) < -60


def test_a_model_of_two_channels_edits_one_two_and_three(tmp_path, thinker):
    stereo = Editor.from_pretrained(make_echo(tmp_path, thinker, channels=2), device="cpu")
    for channels in (1, 2, 3):
        source = noise(40_000, channels)
        assert decibels(stereo.edit(source, "Leave it.", rate=RATE, steps=1, guidance=1.0).audio, source) < -80


def test_level_is_kept_loud_or_soft(echo):
    source = noise(20_000)
    one = echo.edit(source, "Leave it.", rate=RATE, steps=1, guidance=1.0).audio
    for gain in (4.0, 0.01):
        assert np.allclose(echo.edit(gain * source, "Leave it.", rate=RATE, steps=1, guidance=1.0).audio, gain * one, atol=2e-5)


def test_the_seed_decides(editor):
    source = noise(40_000)
    one = editor.edit(source, "Add rain.", rate=RATE, seed=1).audio
    assert np.array_equal(one, editor.edit(source, "Add rain.", rate=RATE, seed=1).audio)
    assert not np.allclose(one, editor.edit(source, "Add rain.", rate=RATE, seed=2).audio, atol=1e-3)


def test_instruction_source_guidance_and_steps_count(editor):
    source = noise(10_000)
    one = editor.edit(source, "Add rain.", rate=RATE).audio
    others = [editor.edit(source, "Remove the dog.", rate=RATE), editor.edit(noise(10_000, seed=1), "Add rain.", rate=RATE),
              editor.edit(source, "Add rain.", rate=RATE, guidance=1.0), editor.edit(source, "Add rain.", rate=RATE, steps=3),
              editor.edit(source, "Add rain.", rate=RATE, sampler="heun"), editor.edit(source, "Add rain.", rate=RATE, shift=3.0),
              editor.edit(source, "Add rain.", rate=RATE, source_guidance=2.0)]
    assert all(np.abs(one - other.audio).max() > 1e-4 for other in others)


def test_steps_guidance_and_shift_are_the_models_own_where_none_are_given(editor, monkeypatch):
    source, own = noise(10_000), SamplingSizes(steps=3, guidance=2.0, shift=4.0)
    given = editor.edit(source, "Add rain.", rate=RATE, steps=own.steps, guidance=own.guidance, shift=own.shift).audio
    monkeypatch.setattr(editor.model, "sizes", dataclasses.replace(editor.model.sizes, sampling=own))
    assert np.array_equal(given, editor.edit(source, "Add rain.", rate=RATE).audio)


def test_silence_gives_no_nan(editor, echo):
    assert np.isfinite(editor.edit(np.zeros((2, 30_000), np.float32), "Add rain.", rate=44_100).audio).all()
    assert np.abs(echo.edit(np.zeros((1, 30_000), np.float32), "Leave it.", rate=RATE, steps=1, guidance=1.0).audio).max() < 1e-5


def test_a_file_is_edited_as_its_samples_are(editor, tmp_path):
    source = noise(30_000, 2)
    soundfile.write(tmp_path / "in.wav", source.T, 22_050, subtype="FLOAT")
    assert np.array_equal(editor.edit(tmp_path / "in.wav", "Add rain.").audio, editor.edit(source, "Add rain.", rate=22_050).audio)
    assert editor.edit(str(tmp_path / "in.wav"), "Add rain.").rate == 22_050


def test_progress_is_told_over_all_windows_and_nothing_is_printed(editor, capfd):
    told = []
    editor.edit(noise(40_000), "Add rain.", rate=RATE, steps=3, progress=lambda *one: told.append(one))
    assert told == [(done, 9) for done in range(1, 10)]
    assert capfd.readouterr() == ("", "")


def test_the_source_is_heard_by_the_mllm_where_the_configuration_says_so(path, editor, thinker, tmp_path):
    hearing = Editor(AudioOmni.from_folder(path), editor.mllm)
    hearing.model.sizes = sizes(thinker, hear=True)
    asked = []

    class Listening:
        device, width, rate = editor.mllm.device, editor.mllm.width, editor.mllm.rate

        def states(self, prompts):
            asked.extend(prompts)
            return editor.mllm.states(prompts)

    hearing.mllm = Listening()
    source = noise(40_000)
    made = hearing.edit(source, "Add rain.", rate=RATE)
    assert [len(prompt.audio) for prompt in asked] == [RATE] * 3 and np.array_equal(asked[0].audio, source[0, :RATE])
    assert not np.allclose(made.audio, editor.edit(source, "Add rain.", rate=RATE).audio, atol=1e-4)


def test_half_precision_is_close(path, editor):
    source = noise(10_000)
    half = Editor.from_pretrained(path, device="cpu", dtype=torch.bfloat16).edit(source, "Add rain.", rate=RATE, guidance=1.0).audio
    whole = editor.edit(source, "Add rain.", rate=RATE, guidance=1.0).audio
    assert np.linalg.norm(half - whole) < 0.05 * np.linalg.norm(whole)


def test_nothing_of_the_process_is_changed(path):
    def state():
        backends = torch.backends
        return (torch.get_rng_state().tolist(), torch.is_grad_enabled(), torch.get_default_dtype(), torch.get_float32_matmul_precision(),
                backends.cudnn.benchmark, backends.cudnn.allow_tf32, backends.cuda.matmul.allow_tf32, torch.are_deterministic_algorithms_enabled(),
                np.random.get_state()[1].tolist())

    before = state()
    Editor.from_pretrained(path, device="cpu").edit(noise(40_000), "Add rain.", rate=22_050)
    assert state() == before
