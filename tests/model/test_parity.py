"""What the original computes, this model computes: all the way from a checkpoint in the published format."""

import json
import shutil
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from safetensors.torch import load_file, save_file  # noqa: E402

from model import parity  # noqa: E402

FOLDER = Path(__file__).with_name("parity")


@pytest.fixture
def copied(tmp_path):
    return Path(shutil.copytree(FOLDER, tmp_path / "parity"))


def test_every_tensor_comes_back_within_its_tolerance(capsys):
    assert parity.main([str(FOLDER)]) == 0
    told = {line.split()[0]: [float(value) for value in line.split()[1:]] for line in capsys.readouterr().out.splitlines()}
    assert told.keys() == load_file(FOLDER / "expected.safetensors").keys() and len(told) == 12
    assert all(error <= tolerance == (1e-3 if name == "sample" else 1e-4) for name, (error, tolerance) in told.items())


def test_one_that_is_over_is_told_and_ends_with_1(copied, capsys):
    expected = load_file(copied / "expected.safetensors")
    expected["velocity"][0, 0, 0] += 2e-3 * expected["velocity"].abs().max()
    expected["sample"] = expected["sample"][..., :-1].contiguous()
    expected["unheard_of"] = torch.ones(3)
    save_file(expected, copied / "expected.safetensors")
    assert parity.main([str(copied)]) == 1
    over = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.endswith("over")]
    assert sorted(over) == ["sample", "unheard_of", "velocity"]


def test_other_sizes_and_another_text_are_computed_by_the_same_code(copied, capsys):
    """Of another model the original's numbers are not here; what its sizes do not touch must agree, all else must be of the asked shape and differ."""
    spec, config = json.loads((copied / "spec.json").read_text()), json.loads((copied / "Audio-Omni.json").read_text())
    dit, pad = config["model"]["diffusion"]["config"], config["model"]["conditioning"]["configs"][0]["config"]
    dit["depth"], dit["num_heads"], pad["pad_length"] = 2, 4, 30
    spec["tensors"] = {name: shape for name, shape in spec["tensors"].items() if ".layers.2." not in name or "transformer" not in name}
    spec["speech_text"], spec["inputs"]["x"]["shape"], spec["steps"] = ["你好 music", "one two"], [2, 8, 17], 3
    (copied / "spec.json").write_text(json.dumps(spec))
    (copied / "Audio-Omni.json").write_text(json.dumps(config))
    expected = load_file(copied / "expected.safetensors")
    shapes = {"velocity": (2, 8, 17), "velocity_guided": (2, 8, 17), "sample": (2, 8, 17), "inputs.cross_attn_mask": (2, 46)}
    shapes |= {"cond.omni_prompt": (2 * 30 * 768 // 17 + 1,), "inputs.cross_attn_cond": (2 * 46 * 768 // 17 + 1,)}
    save_file({name: torch.ones(shapes.get(name, tensor.shape)) for name, tensor in expected.items()}, copied / "expected.safetensors")
    assert parity.main([str(copied)]) == 1
    errors = {line.split()[0]: float(line.split()[1]) for line in capsys.readouterr().out.splitlines()}
    assert errors.keys() == expected.keys() and all(0 < error < float("inf") for error in errors.values())


@pytest.mark.parametrize("missing", ["spec.json", "make_checkpoint.py", "expected.safetensors", "Audio-Omni.json", "vocab.txt"])
def test_a_folder_of_another_form_is_one_line(copied, missing, capsys):
    (copied / missing).unlink()
    assert parity.main([str(copied)]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and (missing in told or missing == "Audio-Omni.json" and "configuration" in told)
