"""What is wrong with a request, or cannot be done, is told in one line."""

import dataclasses
import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from manifests.errors import RequestError

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from tiny_model import RATE, WINDOW, noise, sizes  # noqa: E402

from model import recording  # noqa: E402
from model.audio_omni import AudioOmni  # noqa: E402
from model.editor import Editor  # noqa: E402
from model.tiny_mllm import make_tiny_thinker  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(("change", "line"), [
    ({"audio": np.full((1, 99), np.nan, np.float32)}, "not finite"), ({"audio": np.full((1, 99), np.inf, np.float32)}, "not finite"),
    ({"audio": np.zeros((1, 0), np.float32)}, "no samples"), ({"audio": np.zeros((99, 1), np.float32)}, r"\(99, 1\)"),
    ({"audio": np.zeros(99, np.float32)}, r"\(99,\)"), ({"audio": np.zeros((1, 99), np.int16)}, "int16"), ({"rate": None}, "rate of the audio is None"),
    ({"rate": 0}, "is 0"), ({"steps": 0}, "0 steps"), ({"sampler": "ddim"}, "ddim"), ({"shift": 0.0}, "shift of 0"),
    ({"guidance": float("nan")}, "guidance is nan"), ({"guidance": float("inf")}, "guidance is inf"), ({"seed": 2**64}, "seed is 18446744073709551616"),
    ({"instruction": " "}, "empty"), ({"instruction": "x" * 5_000}, "tokens is longer than the 4096"), ({"audio": "/nowhere.wav", "rate": None}, "nowhere.wav"),
])
def test_what_is_wrong_with_an_edit_is_told_in_one_line(editor, change, line):
    asked = {"audio": noise(99), "instruction": "Add rain.", "rate": RATE} | change
    with pytest.raises(RequestError, match=line) as error:
        editor.edit(**asked)
    assert "\n" not in str(error.value)


def test_a_file_that_is_no_recording_is_told_in_one_line(editor, tmp_path):
    (tmp_path / "text.wav").write_text("no recording at all")
    (tmp_path / "empty.flac").touch()
    for name in ("text.wav", "empty.flac", "."):
        with pytest.raises(RequestError, match="cannot read") as error:
            editor.edit(tmp_path / name, "Add rain.")
        assert "\n" not in str(error.value)
    with pytest.raises(RequestError, match="which tells its own"):
        editor.edit(tmp_path / "text.wav", "Add rain.", rate=RATE)


def test_a_file_that_cannot_be_written_is_told_before_it_is_made(tmp_path):
    source = tmp_path / "in.wav"
    recording.write(source, recording.Recording(noise(99), RATE))
    recording.check_output(tmp_path / "out.WAV", 32, source)
    recording.check_output(tmp_path / "out.flac", 8, source)
    (tmp_path / "dir.wav").mkdir()
    for name, told in (("out.mp3", "a .wav or .flac file"), ("out", "a .wav or .flac file"), ("out.flac", "at most 8 channels, and there are 9"),
                       ("none/out.wav", "there is no folder"), ("dir.wav", "cannot be written to"),
                       ("dir.wav/../in.wav", "the recording to be edited")):
        with pytest.raises(RequestError, match=told):
            recording.check_output(tmp_path / name, 9, source)
    with pytest.raises(RequestError, match="out.wav: cannot be written"):
        recording.write(tmp_path / "none" / "out.wav", recording.Recording(noise(99), RATE))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dir.wav", "in.wav"]


@pytest.mark.parametrize("name", ["out.wav", "out.flac"])
def test_what_is_written_is_read_back_and_is_the_same_whenever(tmp_path, name):
    made = recording.Recording(noise(999, channels=3), 22_050)
    recording.write(tmp_path / name, made)
    first = (tmp_path / name).read_bytes()
    time.sleep(1.1)  # a second later: some formats hold the time
    recording.write(tmp_path / name, made)
    back = recording.given(tmp_path / name, None)
    assert (tmp_path / name).read_bytes() == first and back.rate == 22_050 and np.allclose(back.audio, made.audio, atol=0 if name == "out.wav" else 2e-7)


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
    with pytest.raises(RequestError, match=f"this process sees {torch.cuda.device_count() or 'no'} GPU"):
        Editor.from_pretrained(path, device=f"cuda:{torch.cuda.device_count()}")
    with pytest.raises(RequestError, match="no device 'gpu'"):
        Editor.from_pretrained(path, device="gpu")
    with pytest.raises(RequestError, match="vocabulary of 58 lines; got none"):
        AudioOmni(sizes(thinker))


def test_a_vocabulary_of_another_model_is_told(tmp_path, path):
    folder = Path(shutil.copytree(path, tmp_path / "MODEL"))
    (folder / "vocab.txt").write_text("a\nb\n")
    with pytest.raises(RequestError, match="vocab.txt has 2 lines, the model 58"):
        Editor.from_pretrained(folder, device="cpu")
    (folder / "vocab.txt").unlink()
    with pytest.raises(RequestError, match="cannot read the speech vocabulary .*vocab.txt"):
        Editor.from_pretrained(folder, device="cpu")


@pytest.mark.parametrize(("change", "told"), [
    ({"mllm": {}}, "mllm is {}; wanted: path, layer"), ({"mllm": {"path": 3, "layer": -2, "hear_source": False}}, "mllm is "),
    ({"mllm": {"path": "x", "layer": -2, "hear_source": False, "listens": True}}, "listens"), ({"codec": {"kind": "oobleck"}}, "strides"),
    ({"codec": {"kind": "mdct", "hop": 48}}, "power of two"), ({"codec": {}}, "codec is {}"), ({"window": 7}, "shorter than a latent frame"),
])
def test_a_configuration_that_makes_no_model_is_told(tmp_path, path, change, told):
    folder = Path(shutil.copytree(path, tmp_path / "MODEL"))
    (folder / "config.json").write_text(json.dumps(json.loads((folder / "config.json").read_text()) | change))
    with pytest.raises(RequestError, match=told) as error:
        Editor.from_pretrained(folder, device="cpu")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("index", ["[]", "{}", '{"weight_map": 3}', '{"weight_map": {"dit.x": "none.safetensors"}}', "no JSON"])
def test_an_index_of_weights_that_is_none_is_told(tmp_path, path, index):
    folder = Path(shutil.copytree(path, tmp_path / "MODEL"))
    (folder / "model.safetensors.index.json").write_text(index)
    with pytest.raises(RequestError, match="cannot read the weights"):
        AudioOmni.from_folder(folder)


def test_windows_longer_than_the_mllm_hears_are_refused_where_it_is_to_hear_them(editor, thinker):
    long = dataclasses.replace(sizes(thinker, mel=False, speech=False, hear=True), window=31 * RATE)
    with pytest.raises(RequestError, match=r"windows of 31.0 s, and .* hears at most 30 s"):
        Editor(AudioOmni(long), editor.mllm)
    Editor(AudioOmni(dataclasses.replace(long, window=30 * RATE)), editor.mllm)
