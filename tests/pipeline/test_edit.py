"""The model's commands as users call them: from the published format to an edited recording."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from model.tiny_mllm import make_tiny_thinker

PARITY = pathlib.Path(__file__).parents[1] / "model" / "parity"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, audioedit) -> pathlib.Path:
    """A folder with the parity checkpoint as a MODEL, and a recording."""
    made = tmp_path_factory.mktemp("edit")
    subprocess.run([sys.executable, PARITY / "make_checkpoint.py", PARITY, made / "model.safetensors"], check=True)
    make_tiny_thinker(made / "thinker", width=2048)
    done = audioedit("import-official", made / "model.safetensors", PARITY / "Audio-Omni.json", "-o", made / "MODEL", "--vocab", PARITY / "vocab.txt",
                     "--mllm", made / "thinker")
    assert done.returncode == 0, done.stderr
    time = np.arange(30_000) / 22_050
    soundfile.write(made / "in.wav", np.stack([0.3 * np.sin(2 * np.pi * pitch * time) for pitch in (220, 330)], axis=1), 22_050)
    return made


def test_an_edit_has_the_recordings_length_rate_and_channels_and_is_the_same_twice(folder, audioedit):
    for name in ("one.wav", "two.wav"):
        done = audioedit("edit", folder / "MODEL", "--audio", folder / "in.wav", "--instruction", "Remove the sound of 'rain' from the input audio.",
                         "-o", folder / name, "--steps", "2", "--seed", "3")
        assert done.returncode == 0, done.stderr
    first, rate = soundfile.read(folder / "one.wav")
    assert rate == 22_050 and first.shape == (30_000, 2) and np.isfinite(first).all() and first.any()
    assert np.array_equal(first, soundfile.read(folder / "two.wav")[0])  # the files differ in the time that a PEAK chunk holds


@pytest.mark.parametrize(("changes", "told"), [
    ({"folder": "nowhere"}, "nowhere"), ({"audio": "nothing.wav"}, "nothing.wav"), ({"steps": "0"}, "steps"), ({"out": "out.mp3"}, "write a .wav or .flac"),
])
def test_what_is_wrong_is_one_line(folder, audioedit, changes, told):
    asked = {"folder": "MODEL", "audio": "in.wav", "steps": "1", "out": "out.wav", **changes}
    done = audioedit("edit", folder / asked["folder"], "--audio", folder / asked["audio"], "--instruction", "Take it out.", "-o", folder / asked["out"],
                     "--steps", asked["steps"])
    assert done.returncode == 2 and told in done.stderr, done.stderr
    assert len([line for line in done.stderr.splitlines() if line.startswith("audioedit: ")]) == 1
