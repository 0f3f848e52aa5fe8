"""The model's commands as users call them: from the published format to an edited recording."""

import json
import pathlib
import signal
import subprocess
import sys

import numpy as np
import pytest
import soundfile

pytest.importorskip("torch")
pytest.importorskip("diffusers")

from model.tiny_mllm import make_tiny_thinker  # noqa: E402
from pipeline.cli import main  # noqa: E402

PARITY = pathlib.Path(__file__).parents[1] / "model" / "parity"
CORE = """if True:
    import sys

    class Refuse:
        def find_spec(self, name, path=None, target=None):
            if name.split(".")[0] in ("torch", "transformers", "diffusers", "safetensors", "tokenizers", "huggingface_hub", "jieba", "pypinyin"):
                raise ModuleNotFoundError(f"No module named '{name}'", name=name)

    sys.meta_path.insert(0, Refuse())
    from pipeline.cli import main

    sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory, audioedit) -> pathlib.Path:
    """A folder with the parity checkpoint as a MODEL, and a recording."""
    made = tmp_path_factory.mktemp("edit")
    subprocess.run([sys.executable, PARITY / "make_checkpoint.py", PARITY, made / "model.safetensors"], check=True)
    make_tiny_thinker(made / "thinker", width=2048)
    done = audioedit("import-official", made / "model.safetensors", PARITY / "Audio-Omni.json", "-o", made / "MODEL", "--vocab", PARITY / "vocab.txt",
                     "--mllm", made / "thinker")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{made}/MODEL\n", "")
    time = np.arange(30_000) / 22_050
    soundfile.write(made / "in.wav", np.stack([0.3 * np.sin(2 * np.pi * pitch * time) for pitch in (220, 330)], axis=1), 22_050)
    return made


@pytest.fixture
def run(capsys):
    """A command in this process: its exit code, and the lines that it says of what is wrong."""
    before = signal.getsignal(signal.SIGTERM)

    def ran(*arguments) -> tuple[int, list[str]]:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return code, capsys.readouterr().err.splitlines()

    yield ran
    signal.signal(signal.SIGTERM, before)


def test_an_edit_has_the_recordings_length_rate_and_channels_and_is_the_same_twice(folder, audioedit):
    for name in ("one.wav", "two.wav"):
        done = audioedit("edit", folder / "MODEL", "--audio", folder / "in.wav", "--instruction", "Remove the sound of 'rain' from the input audio.",
                         "-o", folder / name, "--steps", "2", "--seed", "3")
        assert (done.returncode, done.stdout) == (0, f"{folder / name}\n")
        assert done.stderr.strip() and all(line.startswith("edit: ") for line in done.stderr.split("\n") if line), done.stderr  # a bar, and no warnings
    first, rate = soundfile.read(folder / "one.wav")
    assert rate == 22_050 and first.shape == (30_000, 2) and np.isfinite(first).all() and first.any()
    assert (folder / "one.wav").read_bytes() == (folder / "two.wav").read_bytes()


@pytest.mark.parametrize(("changes", "told"), [
    ({"folder": "nowhere"}, "nowhere is not a MODEL folder"), ({"audio": "nothing.wav"}, "nothing.wav"), ({"audio": "vocab.txt"}, "cannot read"),
    ({"more": ["--steps", "0"]}, "0 steps: at least 1"), ({"more": ["--cfg", "nan"]}, "guidance is nan"),
    ({"more": ["--source-cfg", "inf"]}, "guidance is inf"), ({"more": ["--seed", "-1" + 20 * "0"]}, "seed is"),
    ({"more": ["--mllm", "./nothing"]}, "there is no checkpoint at ./nothing"), ({"instruction": " "}, "an instruction is wanted"),
    ({"instruction": "rain " * 2_000}, "longer than the 4096 that the MLLM reads"),
])
def test_what_is_wrong_is_one_line(folder, run, changes, told):
    asked = {"folder": "MODEL", "audio": "in.wav", "instruction": "Take it out.", "more": [], **changes}
    (folder / "vocab.txt").write_text("a\nb\n")
    code, (line,) = run("edit", folder / asked["folder"], "--audio", folder / asked["audio"], "--instruction", asked["instruction"], "-o",
                         folder / "out.wav", "--steps", 1, *asked["more"])
    assert code == 2 and line.startswith("audioedit: ") and told in line and not (folder / "out.wav").exists()


@pytest.mark.parametrize(("output", "told"), [("out.mp3", "write a .wav or .flac file"), ("none/out.wav", "there is no folder"), ("MODEL", ".wav or .flac")])
def test_an_output_that_cannot_be_is_told_before_a_model_is_read(folder, run, output, told):
    code, (line,) = run("edit", folder / "nowhere", "--audio", folder / "in.wav", "--instruction", "Take it out.", "-o", folder / output)
    assert code == 2 and told in line and str(folder / output) in line


def test_what_cannot_be_imported_is_one_line(folder, run, tmp_path):
    config = PARITY / "Audio-Omni.json"
    (tmp_path / "short.txt").write_text("a\nb\n")
    (tmp_path / "other.json").write_text(json.dumps({"model": 3}))
    for checkpoint, described, more, told in (
        ("none.ckpt", config, [], "none.ckpt"), ("in.wav", config, [], "damaged, or holds more than tensors"),
        ("thinker/model.safetensors", config, [], "missing: "), ("model.safetensors", config, ["--vocab", tmp_path / "short.txt"], "of another shape: "),
        ("model.safetensors", config, ["--vocab", tmp_path / "none.txt"], "there is no speech vocabulary"),
        ("model.safetensors", tmp_path / "other.json", [], "not of Audio-Omni's form"), ("model.safetensors", tmp_path / "none.json", [], "none.json"),
    ):
        code, (line,) = run("import-official", folder / checkpoint, described, "-o", tmp_path / "MODEL", *more)
        assert code == 2 and told in line and not (tmp_path / "MODEL").exists()


@pytest.mark.parametrize("arguments", [["edit", "MODEL", "--audio", "in.wav", "--instruction", "Add rain.", "-o", "out.wav"],
                                       ["import-official", "model.ckpt", "Audio-Omni.json", "-o", "MODEL"]])
def test_without_the_extra_one_line_says_what_is_needed(arguments):
    done = subprocess.run([sys.executable, "-c", CORE, *arguments], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr == "audioedit: this command needs diffusers: pip install 'audioedit[model]'\n"
