"""The thinker of Qwen2.5-Omni hears each recording alone however they are batched, and what it says is a label or is refused.

The checkpoints are of the real architecture and of the real layout of files, with tiny random weights, or with weights that say one thing.
"""

import json
import os
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest

from manifests.errors import Rejected, RequestError

pytest.importorskip("transformers")
torch = pytest.importorskip("torch")
safetensors = pytest.importorskip("safetensors.torch")

from stages.engines.prompting import UNREADABLE  # noqa: E402
from stages.engines.qwen_omni import QwenOmni  # noqa: E402
from stages.engines.registry import load  # noqa: E402

RATE = 16_000
SAYS = '```json\n{"label": "Dog bark.", "caption": "A dog barks."}\n```'
NAMES = {
    "image_token": "<|IMAGE|>", "audio_token": "<|AUDIO|>", "video_token": "<|VIDEO|>", "vision_bos_token": "<|vision_bos|>",
    "vision_eos_token": "<|vision_eos|>", "audio_bos_token": "<|audio_bos|>", "audio_eos_token": "<|audio_eos|>",
}
pytestmark = pytest.mark.usefixtures("one_thread")
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{% for part in message.content %}"
    "{% if part.type == 'audio' %}<|audio_bos|><|AUDIO|><|audio_eos|>{% else %}{{ part.text }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tokenizer():
    """Of bytes, the control tokens, and a token that is a whole answer."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import Qwen2TokenizerFast

    made = Tokenizer(models.BPE())
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    made.train_from_iterator([], trainers.BpeTrainer(special_tokens=["<|endoftext|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                                                     show_progress=False))
    made = Qwen2TokenizerFast(tokenizer_object=made, eos_token="<|im_end|>", pad_token="<|endoftext|>",
                              additional_special_tokens=["<|im_start|>", "<|im_end|>"], extra_special_tokens=NAMES)
    made.add_tokens([SAYS])
    return made


def save(folder: Path, says: bool) -> None:
    """A whole checkpoint as the hub has it: the thinker under its prefix, beside what is not of it."""
    from transformers import (
        Qwen2_5OmniConfig,
        Qwen2_5OmniProcessor,
        Qwen2_5OmniThinkerForConditionalGeneration,
        Qwen2VLImageProcessor,
        Qwen2VLVideoProcessor,
        WhisperFeatureExtractor,
    )

    tokens = tokenizer()
    number = tokens.convert_tokens_to_ids
    images, sounds = Qwen2VLImageProcessor(), WhisperFeatureExtractor(feature_size=16, chunk_length=4)
    Qwen2_5OmniProcessor(images, Qwen2VLVideoProcessor(), sounds, tokens, chat_template=TEMPLATE).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({**images.to_dict(), **sounds.to_dict()}))
    config = Qwen2_5OmniConfig(thinker_config={
        "audio_config": {"num_mel_bins": 16, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 32, "d_model": 16,
                         "max_source_positions": 300, "output_dim": 32},
        "vision_config": {"depth": 1, "hidden_size": 16, "intermediate_size": 32, "num_heads": 2, "out_hidden_size": 32, "fullatt_block_indexes": [0]},
        "text_config": {"vocab_size": len(tokens), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
                        "num_key_value_heads": 1, "rope_scaling": {"mrope_section": [2, 3, 3], "rope_type": "default"}},
        "audio_token_index": number("<|AUDIO|>"), "image_token_index": number("<|IMAGE|>"), "video_token_index": number("<|VIDEO|>"),
        "audio_start_token_id": number("<|audio_bos|>"), "audio_end_token_id": number("<|audio_eos|>"),
        "vision_start_token_id": number("<|vision_bos|>"), "vision_end_token_id": number("<|vision_eos|>"),
    })
    config.save_pretrained(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        weights = Qwen2_5OmniThinkerForConditionalGeneration(config.thinker_config).state_dict()
        weights = {name: torch.randn_like(weight) * 0.3 if name.endswith("weight") and "norm" not in name else weight for name, weight in weights.items()}
    weights["lm_head.weight"][number(SAYS)] = 0  # which would be said by chance
    if says:  # each token's vector goes through unchanged, and asks for the token that is to follow
        for name in weights:
            if name.startswith("model.layers") and name.endswith(("o_proj.weight", "down_proj.weight")):
                weights[name] = torch.zeros_like(weights[name])
        after = weights["lm_head.weight"] = torch.zeros_like(weights["lm_head.weight"])
        before = weights["model.embed_tokens.weight"]
        after[number(SAYS)], after[number("<|im_end|>")] = before[number("Ċ")], before[number(SAYS)]  # Ċ: a new line, in bytes as BPE writes them
    whole = {f"thinker.{name}": weight.clone() for name, weight in weights.items()}
    safetensors.save_file({**whole, "talker.codec_head.weight": torch.zeros(2, 2)}, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.fixture(scope="module")
def babbling(tmp_path_factory) -> str:
    """A checkpoint that says nothing that makes sense."""
    save(folder := tmp_path_factory.mktemp("babbling"), says=False)
    return str(folder)


@pytest.fixture(scope="module")
def saying(tmp_path_factory) -> str:
    """A checkpoint that always says `SAYS`."""
    save(folder := tmp_path_factory.mktemp("saying"), says=True)
    return str(folder)


@pytest.fixture(scope="module")
def babbler(babbling) -> QwenOmni:
    return QwenOmni(model=babbling, max_new_tokens=16)


@pytest.fixture(scope="module")
def sayer(saying) -> QwenOmni:
    return QwenOmni(model=saying)


def noise(samples: int, seed: int = 0, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (channels, samples)).astype(np.float32)


MIXED = [(1, 0), (1_000, 1), (60_000, 2), (33_333, 3), (16_000, 4), (64_000, 5)]  # samples at 16 kHz, seeds


def test_what_it_says_is_read_as_a_label(sayer):
    (found,) = sayer.label([noise(20_000)], RATE, ["rain"])
    assert (found.label, found.caption) == ("dog bark", "A dog barks.")
    assert found.details == {"model": sayer.model, "answer": SAYS}


@pytest.mark.parametrize(("rate", "samples"), [(8_000, 1), (16_000, 1), (16_000, 161), (22_050, 30_000), (44_100, 100_001), (48_000, 192_000)])
@pytest.mark.parametrize("channels", [1, 2])
def test_any_rate_length_and_channels_get_an_answer(sayer, rate, samples, channels):
    assert [one.label for one in sayer.label([noise(samples, channels=channels)], rate, [])] == ["dog bark"]


def test_silence_gets_an_answer(sayer, babbler):
    silence = np.zeros((2, 20_000), np.float32)
    assert sayer.label([silence], RATE, [])[0].label == "dog bark"
    assert babbler._ask([silence[0]], "what?") == babbler._ask([silence[0]], "what?")


def test_what_is_said_of_a_recording_is_the_same_alone_and_in_any_batch(babbler):
    heard = [noise(*one)[0] for one in MIXED]
    alone = [babbler._ask([audio], "what?")[0] for audio in heard]
    assert len(set(alone)) > 3 and all(alone)
    assert babbler._ask(heard, "what?") == alone
    assert babbler._ask(heard[::-1], "what?") == alone[::-1]
    assert babbler._ask(heard[2:4], "what?") == alone[2:4]


def test_the_question_is_heard_too(babbler):
    audio = noise(20_000)[0]
    assert babbler._ask([audio], "what is this?") != babbler._ask([audio], "name the sound")


def test_what_makes_no_sense_is_rejected_each_in_its_place(babbler):
    found = babbler.label([noise(*one) for one in MIXED], RATE, [])
    assert len(found) == len(MIXED) and all(isinstance(one, Rejected) and str(one) == UNREADABLE for one in found)


def test_more_than_it_hears_at_once_is_rejected_alone(sayer):
    found = sayer.label([noise(64_001), noise(64_000)], RATE, [])
    assert isinstance(found[0], Rejected) and str(found[0]).startswith("longer than 4 s") and found[1].label == "dog bark"


def test_a_label_with_control_tokens_changes_nothing(sayer):
    assert sayer.label([noise(5_000)], RATE, ["<|AUDIO|>", "dog <|im_end|>"])[0].label == "dog bark"


def test_the_thinker_saved_alone_is_taken_too(saying, tmp_path):
    from transformers import Qwen2_5OmniThinkerForConditionalGeneration

    shutil.copytree(saying, tmp_path, dirs_exist_ok=True)
    Qwen2_5OmniThinkerForConditionalGeneration.from_pretrained(saying).save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "qwen2_5_omni_thinker"
    assert QwenOmni(model=str(tmp_path)).label([noise(5_000)], RATE, [])[0].label == "dog bark"


def test_a_recording_is_asked_about_once(saying, babbling, tmp_path):
    """The second engine would say something else, and does of what was not asked before."""
    model = tmp_path / "model"
    shutil.copytree(saying, model)
    first = QwenOmni(model=str(model), cache=str(tmp_path / "kept"))
    found = first.label([noise(5_000)], RATE, [])
    shutil.copy(f"{babbling}/model.safetensors", model)
    second = QwenOmni(model=str(model), cache=str(tmp_path / "kept"))
    again = second.label([noise(5_000, seed=1), noise(5_000)], RATE, [])
    assert isinstance(again[0], Rejected) and again[1] == found[0]
    assert isinstance(second.label([noise(5_000)], RATE, ["rain"])[0], Rejected)


def test_the_weights_are_of_the_dtype_that_is_asked_for(saying, sayer):
    made = QwenOmni(model=saying, dtype="bfloat16")
    assert made._thinker.dtype == torch.bfloat16 and sayer._thinker.dtype == torch.float32
    assert made.label([noise(5_000)], RATE, [])[0].label == "dog bark"


def test_it_is_ready_to_infer_and_without_a_talker(sayer):
    assert not sayer._thinker.training and not any(weight.requires_grad for weight in sayer._thinker.parameters())
    assert not any("talker" in name for name, _ in sayer._thinker.named_modules())


def test_a_checkpoint_that_asks_for_sampling_is_answered_without_chance(babbling, babbler, tmp_path):
    shutil.copytree(babbling, tmp_path, dirs_exist_ok=True)
    (tmp_path / "generation_config.json").write_text(json.dumps({"do_sample": True, "temperature": 9.0, "repetition_penalty": 2.0, "max_new_tokens": 3}))
    made, audio = QwenOmni(model=str(tmp_path), max_new_tokens=16), noise(20_000)[0]
    assert made._ask([audio], "what?") == babbler._ask([audio], "what?")


def test_a_checkpoint_that_is_not_there_is_named():
    with pytest.raises(RequestError, match="model: there is no checkpoint at /nowhere/qwen"):
        QwenOmni(model="/nowhere/qwen")


def test_a_checkpoint_of_another_kind_is_refused(saying, tmp_path):
    shutil.copytree(saying, tmp_path, dirs_exist_ok=True)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(RequestError, match="of kind 'bert'"):
        QwenOmni(model=str(tmp_path))


def test_a_checkpoint_that_lacks_weights_is_refused(saying, tmp_path):
    shutil.copytree(saying, tmp_path, dirs_exist_ok=True)
    weights = safetensors.load_file(tmp_path / "model.safetensors")
    del weights["thinker.model.norm.weight"]
    safetensors.save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(RequestError, match="lacks 1 weights, such as .*norm.weight"):
        QwenOmni(model=str(tmp_path))


def test_pickled_weights_are_not_read(saying, tmp_path):
    shutil.copytree(saying, tmp_path, dirs_exist_ok=True)
    torch.save(safetensors.load_file(tmp_path / "model.safetensors"), tmp_path / "pytorch_model.bin")
    os.unlink(tmp_path / "model.safetensors")
    with pytest.raises(OSError, match="safetensors"):
        QwenOmni(model=str(tmp_path))


@pytest.mark.parametrize(("option", "value"), [
    ("dtype", "int3"), ("dtype", ""), ("batch", 0), ("max_new_tokens", 0), ("max_new_tokens", 10**6), ("cache", ""),
])
def test_options_out_of_range_are_refused_by_name(saying, option, value):
    with pytest.raises(ValueError, match=option):
        QwenOmni(model=saying, **{option: value})


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_told(saying):
    with pytest.raises(RequestError, match="cuda"):
        QwenOmni(model=saying, device="cuda")


def test_nothing_of_the_process_is_changed(saying):
    import logging

    def state():
        root = logging.getLogger()
        return (torch.get_rng_state().tolist(), torch.get_default_dtype(), torch.is_grad_enabled(), np.random.get_state()[1].tolist(),
                list(warnings.filters), root.level, list(root.handlers), logging.getLogger("transformers").level, dict(os.environ))

    before = state()
    QwenOmni(model=saying).label([noise(5_000)], RATE, [])
    assert state() == before


def test_it_is_loaded_by_its_name_and_asks_no_network(saying, attempts):
    engine = load("labeler", {"engine": "qwen_omni", "model": saying, "batch": 2, "dtype": "float32"})
    assert type(engine) is QwenOmni and engine.batch == 2 and engine.label([noise(4_000)], RATE, [])[0].label == "dog bark" and engine.label([], RATE, []) == []
    assert attempts == []


def test_a_wrong_checkpoint_is_one_line_by_the_registry(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(RequestError, match="^labeler: engine 'qwen_omni': model: ") as error:
        load("labeler", {"engine": "qwen_omni", "model": str(tmp_path)})
    assert "\n" not in str(error.value)
