"""What comes back has the length, rate, channels and level of what went in, without a seam, the same for the same seed; what cannot be done is told."""

import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from manifests.errors import RequestError

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from tiny_model import RATE, WINDOW, make_echo, make_model, sizes  # noqa: E402

from model import windows  # noqa: E402
from model.audio_omni import AudioOmni  # noqa: E402
from model.editor import Editor  # noqa: E402
from model.mllm import Prompt  # noqa: E402
from model.tiny_mllm import make_tiny_thinker  # noqa: E402


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Small tensors on a busy machine wait longer for each other's threads than they compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def thinker(tmp_path_factory) -> str:
    return make_tiny_thinker(tmp_path_factory.mktemp("tiny-random-thinker"))


@pytest.fixture(scope="module")
def path(tmp_path_factory, thinker) -> str:
    return make_model(tmp_path_factory.mktemp("random"), thinker)


@pytest.fixture(scope="module")
def editor(path) -> Editor:
    return Editor.from_pretrained(path, device="cpu")


@pytest.fixture(scope="module")
def echo(tmp_path_factory, thinker) -> Editor:
    """Gives back the source, through noise, DiT and codec."""
    return Editor.from_pretrained(make_echo(tmp_path_factory.mktemp("echo"), thinker), device="cpu")


def noise(samples: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (channels, samples)).astype(np.float32)


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
    assert len(windows.starts(source.shape[1], echo.model.edit_window, 64)) == 11
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


def test_what_differs_between_windows_is_faded_without_a_step():
    begins = windows.starts(100_000, 16_000, 64)
    pieces = [np.full((1, 16_000), place % 2, np.float32) for place in range(len(begins))]
    whole = windows.join(pieces, begins, 100_000)
    assert whole.shape == (1, 100_000) and whole.min() == 0 and whole.max() == 1 and np.abs(np.diff(whole)).max() < 2e-3
    assert begins[-1] + 16_000 >= 100_000 and all(begin % 64 == 0 for begin in begins)


@pytest.mark.parametrize("samples", [1, 63, 64, 16_000, 16_001, 16_064, 29_999, 30_001, 160_000])
def test_windows_cover_a_recording_and_share_an_eighth(samples):
    begins = windows.starts(samples, 16_000, 64)
    shared = [begin + 16_000 - after for begin, after in zip(begins, begins[1:])]
    assert begins[0] == 0 and samples <= begins[-1] + 16_000 and all(2_000 <= one < 16_000 for one in shared)
    assert len(begins) == 1 or begins[-1] + 16_000 < samples + 64
    audio = noise(samples)
    assert np.array_equal(windows.join((windows.cut(audio, begin, 16_000) for begin in begins), begins, samples), audio)


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
              editor.edit(source, "Add rain.", rate=RATE, sampler="heun"), editor.edit(source, "Add rain.", rate=RATE, shift=3.0)]
    assert all(np.abs(one - other.audio).max() > 1e-4 for other in others)


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


def test_sounds_and_music_of_any_length_up_to_the_window(editor):
    assert editor.generate("rain on a roof").audio.shape == (1, WINDOW)
    rain = editor.generate("rain on a roof", 0.5, seed=3)
    assert rain.audio.shape == (1, 8_000) and rain.rate == RATE and np.isfinite(rain.audio).all()
    assert not np.allclose(rain.audio, editor.generate("rain on a roof", 0.5, "music", seed=3).audio, atol=1e-4)
    assert not np.allclose(rain.audio, editor.generate("a slow waltz", 0.5, seed=3).audio, atol=1e-4)
    video = np.random.default_rng(0).standard_normal((24, 16))
    assert not np.allclose(editor.generate("", 0.5, "video", video=video).audio, editor.generate("", 0.5, "video", video=-video).audio, atol=1e-4)


def test_speech_by_text_and_voice(editor):
    plain = editor.speak("Hello there.", seconds=0.5).audio
    assert plain.shape == (1, 8_000) and not np.allclose(plain, editor.speak("Good bye.", seconds=0.5).audio, atol=1e-4)
    voice = noise(9_600, 2)
    spoken = editor.speak("Hello there.", voice, rate=48_000, seconds=0.5).audio
    assert spoken.shape == (1, 8_000) and not np.allclose(spoken, plain, atol=1e-4)
    assert editor.speak("Hello.", voice, rate=48_000, voice_text="I am here").audio.shape == (1, WINDOW - 3_200)


def test_questions_are_answered(editor):
    source = noise(20_000, 2)
    answer = editor.understand("What is this?", source, rate=RATE, max_new_tokens=8)
    assert answer == editor.mllm.understand("What is this?", source.mean(axis=0), 8)
    assert answer != editor.understand("What is this?", max_new_tokens=8)
    with pytest.raises(RequestError, match="hears 30 s at once"):
        editor.understand("What is this?", noise(31 * 8_000), rate=8_000)


@pytest.mark.parametrize(("change", "line"), [
    ({"audio": np.full((1, 99), np.nan, np.float32)}, "not finite"), ({"audio": np.full((1, 99), np.inf, np.float32)}, "not finite"),
    ({"audio": np.zeros((1, 0), np.float32)}, "no samples"), ({"audio": np.zeros((99, 1), np.float32)}, r"\(99, 1\)"),
    ({"audio": np.zeros(99, np.float32)}, r"\(99,\)"), ({"audio": np.zeros((1, 99), np.int16)}, "int16"), ({"rate": None}, "rate of the audio is None"),
    ({"rate": 0}, "is 0"), ({"steps": 0}, "0 steps"), ({"sampler": "ddim"}, "ddim"), ({"shift": 0.0}, "shift of 0"),
    ({"guidance": float("nan")}, "guidance is nan"),
    ({"instruction": " "}, "empty"), ({"instruction": "x" * 5_000}, "tokens is longer than the 4096"), ({"audio": "/nowhere.wav", "rate": None}, "nowhere.wav"),
])
def test_what_is_wrong_with_an_edit_is_told_in_one_line(editor, change, line):
    asked = {"audio": noise(99), "instruction": "Add rain.", "rate": RATE} | change
    with pytest.raises(RequestError, match=line) as error:
        editor.edit(**asked)
    assert "\n" not in str(error.value)


def test_what_the_model_cannot_do_is_refused(tmp_path, thinker, editor):
    bare = Editor(AudioOmni(sizes(thinker, source=False, mel=False, speech=False, video=False)).eval(), editor.mllm)
    assert bare.generate("rain").audio.shape == (1, WINDOW)
    with pytest.raises(RequestError, match="no video conditioner"):
        bare.generate("rain", kind="video", video=np.zeros((24, 16)))
    with pytest.raises(RequestError, match="does not speak"):
        bare.speak("Hello.")
    with pytest.raises(RequestError, match="cannot edit"):
        bare.edit(noise(99), "Add rain.", rate=RATE)
    for wrong in (np.zeros((3, 16)), np.full((24, 16), np.nan), "film.mp4"):
        with pytest.raises(RequestError, match=r"features \(24, 16\)"):
            editor.generate("rain", kind="video", video=wrong)
    with pytest.raises(RequestError, match="no video is given"):
        editor.generate("rain", kind="video")
    for seconds in (0, -1, 1.1, float("nan")):
        with pytest.raises(RequestError, match="seconds are asked for"):
            editor.generate("rain", seconds)
    with pytest.raises(RequestError, match="70 symbols"):
        editor.speak("a" * 70)
    with pytest.raises(RequestError, match="2.0 s long"):
        editor.speak("a", noise(2 * RATE), rate=RATE)


def test_a_model_that_does_not_fit_is_told(tmp_path, path, thinker):
    with pytest.raises(RequestError, match="not a MODEL folder"):
        Editor.from_pretrained(tmp_path)
    with pytest.raises(RequestError, match="128 wide; this model takes 64"):
        Editor.from_pretrained(path, device="cpu", mllm=make_tiny_thinker(tmp_path / "wide", width=128))
    if not torch.cuda.is_available():
        with pytest.raises(RequestError, match="no GPU"):
            Editor.from_pretrained(path, device="cuda")
    config = json.loads((tmp_path.__class__(path) / "config.json").read_text())
    with pytest.raises(RequestError, match="vocabulary of 58 lines; got none"):
        AudioOmni(sizes(thinker))
    assert config["mllm"]["path"] == thinker


def test_a_saved_model_is_the_same_and_holds_neither_mllm_nor_codec(path, editor, tmp_path):
    again = AudioOmni.from_folder(path)
    again.save(tmp_path / "again")
    other = Editor(AudioOmni.from_folder(tmp_path / "again"), editor.mllm)
    source = noise(10_000)
    assert np.array_equal(other.edit(source, "Add rain.", rate=RATE).audio, editor.edit(source, "Add rain.", rate=RATE).audio)
    assert set(again.weights()) == {name for name, _ in again.named_parameters() if not name.startswith("codec")}
    assert {name.split(".")[0] for name in again.weights()} == {"dit", "conditioners"}


def test_half_precision_is_close(path, editor):
    source = noise(10_000)
    half = Editor.from_pretrained(path, device="cpu", dtype=torch.bfloat16).edit(source, "Add rain.", rate=RATE, guidance=1.0).audio
    whole = editor.edit(source, "Add rain.", rate=RATE, guidance=1.0).audio
    assert np.linalg.norm(half - whole) < 0.05 * np.linalg.norm(whole)


def test_the_mllm_and_the_codec_are_the_same_before_and_after_a_training_step(path, editor):
    def digest(module):
        return hashlib.sha256(b"".join(weight.numpy().tobytes() for weight in module.state_dict().values())).hexdigest()

    made = AudioOmni.from_folder(path).train()
    before, mine = digest(editor.mllm.thinker), digest(made)
    optimizer = torch.optim.AdamW([weight for weight in made.parameters() if weight.requires_grad], lr=1e-2)
    hidden, mask = editor.mllm.states([Prompt("Add rain."), Prompt("a", "sound")])
    audio = torch.from_numpy(noise(WINDOW, 2))[:, None]
    conditioning = made.condition(hidden, mask, ["hello", None], audio)
    velocity = made.dit(made.encode(audio), torch.tensor([0.3, 0.7]), conditioning.context, conditioning.context_mask, conditioning.low_level,
                        conditioning.source)
    velocity.square().mean().backward()
    assert made.dit.project_source.weight.grad.any() and made.conditioners.omni_prompt.project.weight.grad.any()
    optimizer.step()
    assert digest(made) != mine and digest(editor.mllm.thinker) == before
    assert not made.codec.training and not editor.mllm.thinker.training


def test_nothing_of_the_process_is_changed(path):
    def state():
        backends = torch.backends
        return (torch.get_rng_state().tolist(), torch.is_grad_enabled(), torch.get_default_dtype(), torch.get_float32_matmul_precision(),
                backends.cudnn.benchmark, backends.cudnn.allow_tf32, backends.cuda.matmul.allow_tf32, torch.are_deterministic_algorithms_enabled(),
                np.random.get_state()[1].tolist())

    before = state()
    Editor.from_pretrained(path, device="cpu").edit(noise(40_000), "Add rain.", rate=22_050)
    assert state() == before


def test_the_editor_needs_neither_ray_nor_diffusers(path):
    said = subprocess.run([sys.executable, "-c", "import sys; from model.editor import Editor; "
                           f"Editor.from_pretrained({path!r}, device='cpu'); print({{'ray', 'diffusers', 'pipeline', 'stages'}} & set(sys.modules))"],
                          capture_output=True, text=True)
    assert said.stdout == "set()\n", said.stderr
