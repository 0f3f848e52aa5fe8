"""The whole model: what is saved and trained of it, and what a training's precision leaves alone."""

import dataclasses
import hashlib

import numpy as np
import pytest

from manifests.errors import RequestError

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from tiny_model import RATE, WINDOW, noise, sizes  # noqa: E402

from model.audio_omni import AudioOmni  # noqa: E402
from model.codec import untrained  # noqa: E402
from model.editor import Editor  # noqa: E402
from model.mllm import Prompt  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_saved_model_is_the_same_and_holds_neither_mllm_nor_codec(path, editor, tmp_path):
    again = AudioOmni.from_folder(path)
    again.save(tmp_path / "again")
    other = Editor(AudioOmni.from_folder(tmp_path / "again"), editor.mllm)
    source = noise(10_000)
    assert np.array_equal(other.edit(source, "Add rain.", rate=RATE).audio, editor.edit(source, "Add rain.", rate=RATE).audio)
    assert set(again.weights()) == {name for name, _ in again.named_parameters() if not name.startswith("codec")}
    assert {name.split(".")[0] for name in again.weights()} == {"dit", "conditioners"}


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


def test_the_codec_stays_whole_where_training_is_in_half_precision(path):
    made, audio = AudioOmni.from_folder(path), torch.from_numpy(noise(WINDOW))[None]
    latents = made.encode(audio)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(made.encode(audio), latents) and torch.equal(made.decode(latents), made.decode(latents.double()))
        back = made.decode(latents)
    assert torch.equal(back, made.decode(latents)) and torch.allclose(back, audio, atol=1e-5)


def test_a_codec_of_other_sizes_is_refused(thinker):
    of = sizes(thinker, speech=False)
    for codec in ({"kind": "mdct", "hop": 32}, {"kind": "mdct", "hop": 3}, {"kind": "mdct", "hop": "x"}, {"kind": "mp3"}):
        with pytest.raises(RequestError, match="codec"):
            AudioOmni(of, codec=untrained(codec, of.sample_rate, of.channels))
    with pytest.raises(RequestError, match="64 samples a frame"):
        AudioOmni(dataclasses.replace(of, codec={"kind": "mdct", "hop": 128}), codec=untrained(of.codec, of.sample_rate, of.channels))
