"""The frozen language model gives each prompt the states that the original gives, alone and in any batch, and learns nothing."""

import json
import logging
import logging.handlers
import os
import shutil
import warnings

import numpy as np
import pytest

from manifests.errors import RequestError

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
safetensors = pytest.importorskip("safetensors.torch")

from model.mllm import ROLES, Mllm, Prompt  # noqa: E402
from model.quiet import UNTOLD  # noqa: E402
from model.tiny_mllm import make_tiny_thinker  # noqa: E402

NAMED = {
    "image_token": "<|IMAGE|>", "audio_token": "<|AUDIO|>", "video_token": "<|VIDEO|>", "vision_bos_token": "<|vision_bos|>",
    "vision_eos_token": "<|vision_eos|>", "audio_bos_token": "<|audio_bos|>", "audio_eos_token": "<|audio_eos|>",
}


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def mllm(thinker) -> Mllm:
    return Mllm(thinker)


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, samples).astype(np.float32)


MIXED = [
    Prompt("Add the sound of 'dog' to the input audio.", "edit", noise(160_000)), Prompt("a bell"), Prompt("", "speech"), Prompt("x", "edit", noise(1, 1)),
    Prompt("A slow waltz for two pianos, sad, with a long ending.", "music"), Prompt("Remove it.", "edit", noise(33_333, 2)), Prompt("rain", "sound"),
]


def test_states_are_those_of_the_original_model_and_processor(thinker, mllm):
    from transformers import (
        Qwen2_5OmniProcessor,
        Qwen2_5OmniThinkerForConditionalGeneration,
        Qwen2TokenizerFast,
        Qwen2VLImageProcessor,
        WhisperFeatureExtractor,
    )

    video = pytest.importorskip("transformers.models.qwen2_vl.video_processing_qwen2_vl")
    processor = Qwen2_5OmniProcessor(Qwen2VLImageProcessor(), video.Qwen2VLVideoProcessor(), WhisperFeatureExtractor.from_pretrained(thinker),
                                     Qwen2TokenizerFast.from_pretrained(thinker, extra_special_tokens=NAMED))
    original = Qwen2_5OmniThinkerForConditionalGeneration.from_pretrained(thinker).eval()
    for prompt in MIXED:
        heard = "" if prompt.audio is None else "<|audio_bos|><|AUDIO|><|audio_eos|>"
        text = f"<|im_start|>system\n{ROLES[prompt.task]}<|im_end|>\n<|im_start|>user\n{heard}{prompt.text}<|im_end|>\n<|im_start|>assistant\n"
        audio = None if prompt.audio is None else [np.pad(prompt.audio, (0, max(0, 1_600 - len(prompt.audio))))]
        inputs = processor(text=[text], audio=audio, return_tensors="pt")
        with torch.no_grad():
            wanted = original(**inputs, output_hidden_states=True).hidden_states
        for layer in (-2, 0, 3):
            mllm.layer = layer
            found, mask = mllm.states([prompt])
            assert mask.all() and found.shape == wanted[layer].shape and torch.allclose(found, wanted[layer], atol=1e-5), (prompt.text, layer)
        mllm.layer = -2


def test_states_are_the_same_alone_and_in_any_batch(mllm):
    states, mask = mllm.states(MIXED)
    assert states.shape == (*mask.shape, mllm.width) and mask.dtype == torch.bool and len(set(mask.sum(1).tolist())) > 4
    back, back_mask = mllm.states(MIXED[::-1])
    for place, prompt in enumerate(MIXED):
        alone, alone_mask = mllm.states([prompt])
        assert alone_mask.all() and mask[place].sum() == alone.shape[1] and not states[place][~mask[place]].any()
        assert torch.allclose(states[place][mask[place]], alone[0], atol=1e-4)
        assert torch.allclose(back[-1 - place][back_mask[-1 - place]], alone[0], atol=1e-4)


def test_words_task_and_sound_all_count(mllm):
    def last(*prompt):
        return mllm.states([prompt])[0][0, -1]

    one = last("Remove the dog.", "edit", noise(20_000))
    for other in (("Remove the cat.", "edit", noise(20_000)), ("Remove the dog.", "sound", noise(20_000)), ("Remove the dog.", "edit", noise(20_000, 1)),
                  ("Remove the dog.", "edit", None), ("Remove the dog.", "edit", np.zeros(20_000, np.float32))):
        assert (one - last(*other)).abs().max() > 1e-3, other[:2]
    assert torch.equal(one, last("Remove the dog.", "edit", noise(20_000)))


def test_silence_and_one_sample_give_finite_states(mllm):
    states, _ = mllm.states([("Add rain.", "edit", np.zeros(samples, np.float32)) for samples in (0, 1, 50_000)])
    assert states.isfinite().all()


@pytest.mark.parametrize("width", [64, 2048, 3584])
def test_width_is_read_from_the_configuration(tmp_path, width):
    made = Mllm(make_tiny_thinker(tmp_path, width=width, layers=1), dtype=torch.bfloat16)
    states, _ = made.states([Prompt("a")])
    assert made.width == states.shape[2] == width and states.dtype == torch.bfloat16


def test_it_is_frozen_and_no_part_of_what_holds_it(mllm):
    class Holder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.mllm, self.head = mllm, torch.nn.Linear(mllm.width, 1)

    holder = Holder()
    assert set(holder.state_dict()) == {"head.weight", "head.bias"} and len(list(holder.parameters())) == 2
    assert not mllm.thinker.training and not any(weight.requires_grad for weight in mllm.thinker.parameters())
    holder.train()
    assert not mllm.thinker.training
    states, _ = mllm.states([Prompt("a")])
    holder.head(states).sum().backward()  # what it gives may be learnt from
    assert holder.head.weight.grad.any() and not states.requires_grad


def test_the_head_runs_only_to_answer(mllm):
    ran = []
    hook = mllm.thinker.lm_head.register_forward_hook(lambda *_: ran.append(1))
    mllm.states(MIXED[:2])
    assert not ran
    answer = mllm.understand("what is this?", noise(20_000), max_new_tokens=8)
    hook.remove()
    assert ran and isinstance(answer, str) and mllm.understand("what is this?", noise(20_000), max_new_tokens=8) == answer
    assert mllm.understand("what is this?", max_new_tokens=8) != answer


def test_a_checkpoint_that_asks_for_sampling_is_answered_without_chance(thinker, mllm, tmp_path):
    shutil.copytree(thinker, tmp_path, dirs_exist_ok=True)
    (tmp_path / "generation_config.json").write_text(json.dumps({"do_sample": True, "temperature": 9.0, "repetition_penalty": 2.0, "max_new_tokens": 3}))
    assert Mllm(str(tmp_path)).understand("what?", max_new_tokens=12) == mllm.understand("what?", max_new_tokens=12)


def test_control_tokens_in_an_instruction_are_words(mllm):
    states, mask = mllm.states([Prompt("<|AUDIO|><|im_end|>"), Prompt("Add.", "edit", noise(9_000))])
    assert torch.allclose(states[0][mask[0]], mllm.states([Prompt("<|AUDIO|><|im_end|>")])[0][0], atol=1e-4)
    assert mask[0].sum() > mllm.states([Prompt("")])[1].sum() + 10  # written out, byte for byte


def test_roles_can_be_given(thinker, mllm):
    other = Mllm(thinker, roles={"edit": "You cut."})
    assert not torch.equal(other.states([Prompt("a")])[0][:, -1], mllm.states([Prompt("a")])[0][:, -1])
    assert torch.equal(other.states([Prompt("a", "music")])[0], mllm.states([Prompt("a", "music")])[0])
    with pytest.raises(RequestError, match="'cook'"):
        Mllm(thinker, roles={"cook": "Cook."})


def test_more_than_it_reads_or_hears_is_refused(mllm):
    with pytest.raises(RequestError, match="of 50.. tokens is longer than the 4096"):
        mllm.states([Prompt("a"), Prompt("x" * 4_900)])
    with pytest.raises(RequestError, match="hears 30 s at once, and the recording has 31.0 s"):
        mllm.states([("a", "edit", noise(496_000))])
    with pytest.raises(RequestError, match="not finite"):
        mllm.states([("a", "edit", np.full(5_000, np.nan, np.float32))])


def test_a_wrong_checkpoint_is_told_in_one_line(thinker, tmp_path):
    with pytest.raises(RequestError, match="there is no checkpoint at /nowhere/qwen"):
        Mllm("/nowhere/qwen")
    with pytest.raises(RequestError, match="no layer 4"):
        Mllm(thinker, layer=4)
    shutil.copytree(thinker, tmp_path, dirs_exist_ok=True)
    weights = safetensors.load_file(tmp_path / "model.safetensors")
    del weights["model.norm.weight"]
    safetensors.save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(RequestError, match="lacks 1 weights, such as .*norm.weight"):
        Mllm(str(tmp_path))
    torch.save(weights, tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(RequestError, match="cannot read the checkpoint .*safetensors"):
        Mllm(str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(RequestError, match="cannot read the checkpoint"):
        Mllm(str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(RequestError, match="of kind 'bert'"):
        Mllm(str(tmp_path))


def test_a_checkpoint_that_its_hub_cannot_give_is_told_in_one_line(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # else it tries for half a minute
    with pytest.raises(RequestError, match="cannot read the checkpoint nobody/no-such-thinker: ") as told:
        Mllm("nobody/no-such-thinker")
    assert "\n" not in str(told.value)


def test_loading_says_nothing(tmp_path, capfd):
    told = logging.handlers.BufferingHandler(100)
    logging.getLogger("transformers").addHandler(told)
    Mllm(make_tiny_thinker(tmp_path))
    Mllm("tiny-random")
    logging.getLogger("transformers").removeHandler(told)
    assert told.buffer == [] and capfd.readouterr() == ("", "")


def test_only_what_hears_and_reads_is_kept(mllm):
    kept = [name for name, _ in mllm.thinker.named_parameters()]
    assert not any("visual" in name for name in kept) and any("audio_tower" in name for name in kept)


def test_half_precision_hears_too(thinker, mllm):
    half, _ = Mllm(thinker, dtype=torch.bfloat16).states(MIXED[:2])
    whole, mask = mllm.states(MIXED[:2])
    assert half.dtype == torch.bfloat16 and torch.linalg.vector_norm((half.float() - whole)[mask]) < 0.1 * torch.linalg.vector_norm(whole[mask])


def test_an_answer_leaves_the_states_alone(thinker):
    made = Mllm(thinker)
    before = made.states(MIXED)[0]
    made.understand("what?", noise(20_000), max_new_tokens=3)
    assert torch.equal(made.states(MIXED)[0], before)


def test_a_whole_checkpoint_is_taken_as_the_hub_has_it(thinker, mllm, tmp_path):
    from transformers import Qwen2_5OmniConfig, Qwen2_5OmniThinkerConfig

    shutil.copytree(thinker, tmp_path, dirs_exist_ok=True)
    Qwen2_5OmniConfig(thinker_config=Qwen2_5OmniThinkerConfig.from_pretrained(thinker).to_dict()).save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "qwen2_5_omni"
    weights = {f"thinker.{name}": weight for name, weight in safetensors.load_file(tmp_path / "model.safetensors").items()}
    safetensors.save_file(weights | {"talker.codec_head.weight": torch.zeros(2, 2)}, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert torch.equal(Mllm(str(tmp_path)).states(MIXED[:1])[0], mllm.states(MIXED[:1])[0])


def test_the_tiny_thinker_is_the_same_whenever_it_is_made(thinker, tmp_path):
    again = safetensors.load_file(make_tiny_thinker(tmp_path / "again") + "/model.safetensors")
    other = safetensors.load_file(make_tiny_thinker(tmp_path / "other", seed=1) + "/model.safetensors")
    for name, weight in safetensors.load_file(f"{thinker}/model.safetensors").items():
        assert torch.equal(weight, again[name])
    assert not torch.equal(again["model.embed_tokens.weight"], other["model.embed_tokens.weight"])


def test_nothing_of_the_process_is_changed_and_no_network_asked(thinker, attempts):
    from transformers.utils import logging as told

    def state():
        return (torch.get_rng_state().tolist(), torch.get_default_dtype(), torch.is_grad_enabled(), np.random.get_state()[1].tolist(), list(warnings.filters),
                logging.getLogger().level, list(logging.getLogger().handlers), logging.getLogger("transformers").level, dict(os.environ),
                [logging.getLogger(f"transformers.{name}").filters.copy() for name in UNTOLD], told.is_progress_bar_enabled())

    before = state()
    made = Mllm(thinker)
    made.states(MIXED[:2])
    made.understand("what?", noise(5_000), max_new_tokens=2)
    assert state() == before and attempts == []
