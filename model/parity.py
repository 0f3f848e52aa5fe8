"""Does this model compute what the original computes? `python -m model.parity DIR` prints tensor, relative error, tolerance; exit 1 if one is over.

DIR holds a configuration in the published format, its vocabulary, `spec.json` (tensors, inputs, what is asked), `make_checkpoint.py` (the rule by which
tensors and inputs are drawn; it is run) and `expected.safetensors`. The checkpoint goes through `import_official`, so the adapter and the MODEL folder are
tried too.
"""

import argparse
import json
import runpy
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from manifests.errors import RequestError
from model import official
from model.audio_omni import AudioOmni
from model.flow import guided, sample

TOLERANCE = 1e-4  # of a tensor's largest magnitude, in float32 on a CPU
TOLERANCES = {"sample": 1e-3}


class Line(NamedTuple):
    name: str
    error: float
    tolerance: float

    @property
    def good(self) -> bool:
        return self.error <= self.tolerance


def compare(directory: str | Path) -> list[Line]:
    """One line a tensor in expected.safetensors, in its order of names: largest difference by largest magnitude, infinite for another shape or none.

    Raises:
        RequestError: a file of the folder is missing or of another form.
    """
    directory = Path(directory)
    for name in ("spec.json", "make_checkpoint.py", "expected.safetensors"):
        if not (directory / name).is_file():
            raise RequestError(f"{directory / name} is missing: this is no parity folder")
    configs = [path for path in sorted(directory.glob("*.json")) if path.name != "spec.json"]
    if len(configs) != 1:
        raise RequestError(f"{directory} holds {len(configs)} configurations beside spec.json; wanted: one")
    spec, rule = json.loads((directory / "spec.json").read_text()), runpy.run_path(str(directory / "make_checkpoint.py"))
    with tempfile.TemporaryDirectory() as made:
        save_file({name: torch.from_numpy(array) for name, array in rule["checkpoint"](spec).items()}, f"{made}/model.safetensors")
        official.import_official(f"{made}/model.safetensors", configs[0], f"{made}/model")
        inputs = {name: torch.from_numpy(array) for name, array in rule["inputs"](spec).items()}
        with torch.inference_mode():
            found = dict(_computed(AudioOmni.from_folder(f"{made}/model"), spec, inputs))
    expected = load_file(directory / "expected.safetensors")
    return [Line(name, _error(found.get(name), wanted), TOLERANCES.get(name, TOLERANCE)) for name, wanted in expected.items()]


def _computed(model: AudioOmni, spec: dict, inputs: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """All that a parity folder can ask for, by its name there."""
    dit, conditioners, codec = model.dit, model.conditioners, model.codec
    states = [inputs[f"omni_hidden.{i}"] for i in range(len(spec["speech_text"]))]
    hidden, mask = pad_sequence(states, batch_first=True), pad_sequence([torch.ones(len(state), dtype=torch.bool) for state in states], batch_first=True)
    speech = [None if text is None else model.vocabulary.ids(text) for text in spec["speech_text"]] if model.vocabulary else None
    audio, sync = inputs.get("source_wave"), inputs.get("sync_feature")
    if audio is not None and audio.ndim == 2:  # mono, a row a sample
        audio = audio[:, None]

    given = {"omni_prompt": (hidden, mask), "speech_prompt": (speech,), "audio_input_prompt": (audio,), "sync_feature": (sync,)}
    stride = spec["stride"]
    for name, module in conditioners.named_children():
        yield f"cond.{name}", module(*given[name])[0].flatten()[:: stride["cond"]]
    conditioning = model.condition(hidden, mask, spec["speech_text"], audio, sync)
    yield "inputs.cross_attn_cond", conditioning.context.flatten()[:: stride["cond"]]
    yield "inputs.cross_attn_mask", conditioning.context_mask.float()
    if conditioning.low_level is not None:
        yield "inputs.global_cond", conditioning.low_level.flatten()[:: stride["cond"]]

    x, t = inputs["x"], torch.tensor(spec["t"])
    yield "velocity", dit(x, t, conditioning.context, conditioning.context_mask, conditioning.low_level)
    velocity = guided(dit, conditioning, spec["guidance"])
    yield "velocity_guided", velocity(x, t)
    yield "sample", sample(velocity, x, spec["steps"])
    yield "vae_encoded", torch.cat(codec.encode_moments(inputs["vae_wave"]), dim=1)
    yield "vae_decoded", codec.decode(inputs["vae_latent"]).flatten()[:: stride["wave"]]


def _error(found: Tensor | None, wanted: Tensor) -> float:
    if found is None or found.shape != wanted.shape or not found.isfinite().all():
        return float("inf")
    return float((found - wanted).abs().max() / wanted.abs().max())


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m model.parity", description="Compare this model with the numbers that the original gives.")
    parser.add_argument("directory", type=Path, metavar="DIR")
    try:
        lines = compare(parser.parse_args(arguments).directory)
    except RequestError as error:
        print(error, file=sys.stderr)
        return 2
    for line in lines:
        print(f"{line.name:<28}{line.error:10.2e}{line.tolerance:10.0e}" + ("" if line.good else "  over"))
    return 0 if all(line.good for line in lines) else 1


if __name__ == "__main__":
    sys.exit(main())
