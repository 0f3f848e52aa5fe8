"""Audio-Omni's published files become a MODEL folder, tensor for tensor, or one line says why not."""

import json
import os
import runpy
import shutil
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from safetensors.torch import load_file, save_file  # noqa: E402

from manifests.errors import RequestError  # noqa: E402
from model import folder  # noqa: E402
from model.codec import Oobleck  # noqa: E402
from model.official import import_official, published_codec_name, published_name, sizes_of  # noqa: E402
from model.sizes import Sizes  # noqa: E402

PARITY = Path(__file__).with_name("parity")
CONFIG = PARITY / "Audio-Omni.json"
THINKER = "conditioner.conditioners.omni_prompt.model.thinker.model.embed_tokens.weight"


@pytest.fixture(scope="module")
def tensors():
    drawn = runpy.run_path(str(PARITY / "make_checkpoint.py"))["checkpoint"](json.loads((PARITY / "spec.json").read_text()))
    return {name: torch.from_numpy(array) for name, array in drawn.items()}


@pytest.fixture(scope="module")
def checkpoint(tensors, tmp_path_factory):
    path = tmp_path_factory.mktemp("published") / "model.safetensors"
    save_file(tensors, path)
    return path


@pytest.fixture(scope="module")
def imported(checkpoint, tmp_path_factory):
    path = tmp_path_factory.mktemp("imported") / "MODEL"
    import_official(checkpoint, CONFIG, path)
    return path


def described(**changes):
    config = json.loads(CONFIG.read_text())
    config["model"]["diffusion"]["config"] |= changes
    return config


def test_the_folder_holds_all_but_the_mllm(imported):
    assert sorted(os.listdir(imported)) == ["codec", "config.json", "model.safetensors", "vocab.txt"]
    assert (imported / "vocab.txt").read_text() == (PARITY / "vocab.txt").read_text()
    sizes = folder.read_sizes(imported)
    assert sizes.mllm == {"path": "Qwen/Qwen2.5-Omni-3B", "layer": -2, "hear_source": False}
    assert (sizes.dit.layers, sizes.dit.width, sizes.conditioners.speech_prompt.vocabulary, sizes.latent_frames) == (3, 128, 102, 20)


def test_every_tensor_is_where_it_belongs(imported, tensors):
    ours = load_file(imported / "model.safetensors")
    assert len({published_name(name) for name in ours}) == len(ours)
    for name, tensor in ours.items():
        assert torch.equal(tensor.flatten(), tensors[published_name(name)].flatten()), name
    codec = Oobleck.from_folder(imported / "codec").autoencoder
    theirs = codec.state_dict()
    assert len(theirs) == 365 and codec.config.sampling_rate == 44_100
    for name, tensor in theirs.items():
        assert torch.equal(tensor.flatten(), tensors[published_codec_name(name, 5)].flatten()), name
    left = tensors.keys() - {published_name(name) for name in ours} - {published_codec_name(name, 5) for name in theirs}
    assert all(name.endswith(("norm.beta", "inv_freq", "empty_audio_feat")) for name in left) and len(left) == 3 * 3 + 2


def test_it_reads_back(imported, tensors):
    both = folder.read(imported, dtype=torch.bfloat16)
    assert not both.training and both["dit"].project_in.weight.dtype == torch.bfloat16
    assert torch.equal(both["dit"].time_features.weight, tensors["model.model.timestep_features.weight"])
    assert len(folder.read_vocabulary(imported, folder.read_sizes(imported))) == 102


def test_a_ckpt_with_the_mllm_inside_gives_the_same_folder(tensors, imported, tmp_path):
    torch.save({"state_dict": {**tensors, THINKER: torch.ones(4, 3)}}, tmp_path / "model.ckpt")
    import_official(tmp_path / "model.ckpt", CONFIG, tmp_path / "out", mllm="local/thinker")
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == (imported / "model.safetensors").read_bytes()
    assert folder.read_sizes(tmp_path / "out").mllm["path"] == "local/thinker"
    torch.save(tensors, tmp_path / "old.ckpt", _use_new_zipfile_serialization=False)
    import_official(tmp_path / "old.ckpt", CONFIG, tmp_path / "old")
    assert (tmp_path / "old" / "model.safetensors").read_bytes() == (imported / "model.safetensors").read_bytes()


def test_what_does_not_fit_is_listed_in_one_line(tensors, tmp_path):
    wrong = dict(tensors)
    wrong.pop("model.model.to_cond_embed.2.weight")
    wrong.pop("pretransform.model.encoder.layers.6.alpha")
    wrong["model.model.unheard_of"] = torch.ones(2)
    wrong["conditioner.conditioners.sync_feature.proj.bias"] = torch.ones(7)
    save_file(wrong, tmp_path / "model.safetensors")
    with pytest.raises(RequestError) as told:
        import_official(tmp_path / "model.safetensors", CONFIG, tmp_path / "out")
    told = str(told.value)
    assert "2 missing: " in told and "model.model.to_cond_embed.2.weight" in told and "pretransform.model.encoder.layers.6.alpha" in told
    assert "1 unexpected: model.model.unheard_of" in told and "\n" not in told
    assert "1 of another shape: conditioner.conditioners.sync_feature.proj.bias (7,) (wanted (768,))" in told
    assert not (tmp_path / "out").exists() and os.listdir(tmp_path) == ["model.safetensors"]


def test_constants_that_are_not_what_they_should_be_are_refused(tensors, tmp_path):
    for name, size in (("layers.1.ff_norm.beta", 128), ("rotary_pos_emb.inv_freq", 16)):
        save_file({**tensors, f"model.model.transformer.{name}": torch.ones(size)}, tmp_path / "model.safetensors")
        with pytest.raises(RequestError, match=name):
            import_official(tmp_path / "model.safetensors", CONFIG, tmp_path / "out")


class Hostile:
    def __reduce__(self):
        return os.mkdir, ("hostile",)


def test_a_checkpoint_that_is_none_is_one_line_and_runs_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {"a": Hostile()}}, "hostile.ckpt")
    torch.save([torch.ones(1)], "list.ckpt")
    Path("text.ckpt").write_text("no checkpoint at all")
    Path("empty.ckpt").touch()
    Path("text.safetensors").write_text("no checkpoint at all")
    for name in ("hostile.ckpt", "list.ckpt", "text.ckpt", "empty.ckpt", "text.safetensors", "none.ckpt", "none.safetensors"):
        with pytest.raises(RequestError) as told:
            import_official(name, CONFIG, "out")
        assert name in str(told.value) and "\n" not in str(told.value)
    assert not Path("hostile").exists() and not Path("out").exists()


def test_the_vocabulary_may_be_given(checkpoint, tmp_path):
    config = shutil.copy(CONFIG, tmp_path)
    with pytest.raises(RequestError, match="--vocab FILE"):
        import_official(checkpoint, config, tmp_path / "out")
    (tmp_path / "out").mkdir()  # an empty one may be there
    import_official(checkpoint, config, tmp_path / "out", vocab=PARITY / "vocab.txt")
    short = tmp_path / "short.txt"
    short.write_text("a\nb\n")
    with pytest.raises(RequestError, match=r"text_embed\.text_embed\.weight \(103, 512\) \(wanted \(3, 512\)\)"):
        import_official(checkpoint, config, tmp_path / "other", vocab=short)


def test_nothing_is_overwritten(checkpoint, tmp_path):
    (tmp_path / "mine").touch()
    with pytest.raises(RequestError, match="not empty"):
        import_official(checkpoint, CONFIG, tmp_path)
    assert os.listdir(tmp_path) == ["mine"]


def test_large_weights_are_parted_with_an_index(imported, tmp_path):
    weights, sizes = load_file(imported / "model.safetensors"), folder.read_sizes(imported)
    codec = Oobleck.from_folder(imported / "codec")
    folder.write(tmp_path / "parts", sizes, weights, codec, folder.read_vocabulary(imported, sizes), largest="9MB")
    parts = sorted((tmp_path / "parts").glob("model-*.safetensors"))
    assert len(parts) > 2 and all(part.stat().st_size < 10e6 for part in parts)
    assert set(json.loads((tmp_path / "parts" / "model.safetensors.index.json").read_text())["weight_map"]) == set(weights)
    read = folder.read(tmp_path / "parts").state_dict()
    assert all(torch.equal(read[name], tensor) for name, tensor in weights.items()) and read.keys() == weights.keys()
    with pytest.raises(RequestError, match="not empty"):
        folder.write(tmp_path / "parts", sizes, weights, codec, None)
    parts[1].unlink()
    with pytest.raises(RequestError, match="cannot read the weights"):
        folder.read(tmp_path / "parts")


def test_a_damaged_folder_is_one_line(imported, tmp_path):
    broken = tmp_path / "MODEL"
    shutil.copytree(imported, broken)
    config = json.loads((broken / "config.json").read_text())
    for wrong, told in (({"dit": {**config["dit"], "layers": 4}}, "missing"), ({"dit": {**config["dit"], "heads": 3}}, "heads"), ({"window": "long"}, "window"),
                        ({"colour": 1}, "unknown key colour")):
        (broken / "config.json").write_text(json.dumps({**config, **wrong}))
        with pytest.raises(RequestError, match=told):
            folder.read(broken)
    config.pop("mllm")
    (broken / "config.json").write_text(json.dumps(config))
    with pytest.raises(RequestError, match="mllm is missing"):
        folder.read_sizes(broken)
    with pytest.raises(RequestError, match="not a MODEL folder"):
        folder.read(tmp_path)


def test_a_damaged_codec_is_one_line(imported, tmp_path):
    weights = load_file(imported / "codec" / "diffusion_pytorch_model.safetensors")
    damaged = Path(shutil.copytree(imported / "codec", tmp_path / "codec"))
    held = damaged / "diffusion_pytorch_model.safetensors"
    part = {name: tensor for name, tensor in weights.items() if name != "encoder.conv1.bias"}
    other = {**weights, "encoder.conv1.bias": torch.ones(3)}
    for wrong in (part, {**weights, "unheard_of": torch.ones(2)}, other):
        save_file(wrong, held, metadata={"format": "pt"})
        with pytest.raises(RequestError, match="holds no whole codec"):
            Oobleck.from_folder(damaged)
    held.write_bytes(held.read_bytes()[:1000])
    with pytest.raises(RequestError, match="holds no whole codec"):
        Oobleck.from_folder(damaged)
    held.unlink()
    with pytest.raises(RequestError, match="holds no whole codec"):
        Oobleck.from_folder(damaged)
    with pytest.raises(RequestError, match="holds no codec"):
        Oobleck.from_folder(tmp_path)


def test_the_published_configuration_has_the_published_sizes():
    config = described(io_channels=64, embed_dim=2048, depth=36, num_heads=32)
    config["sample_size"] = 485_100
    for side, latent in (("encoder", 128), ("decoder", 64)):
        config["model"]["pretransform"]["config"][side]["config"] |= {"channels": 128, "latent_dim": latent}
    parts = {entry["id"]: entry["config"] for entry in config["model"]["conditioning"]["configs"]}
    parts["omni_prompt"]["pad_length"], parts["speech_prompt"]["seq_len"], parts["speech_prompt"]["proj_seq_len"] = 2048, 2584, 256
    sizes = sizes_of(config, 2545)
    assert sizes == Sizes.published() == Sizes.from_json(Sizes.published().to_json())
    assert (sizes.latent_frames, sizes.downsampling, sizes.conditioners.audio_input_prompt.frames) == (236, 2048, 1723)


@pytest.mark.parametrize(("changes", "told"), [
    (dict(transformer_type="x-transformers"), "transformer_type"), (dict(num_heads=3), "heads"), (dict(depth="many"), "form"),
])
def test_a_configuration_of_another_model_is_refused(changes, told):
    with pytest.raises(RequestError, match=told):
        sizes_of(described(**changes), 102)
    config = described()
    config["model"]["conditioning"]["configs"][0]["type"] = "t5"
    with pytest.raises(RequestError, match="t5"):
        sizes_of(config, 102)
    for nothing in ({}, [], {"model": 3}):
        with pytest.raises(RequestError, match="form"):
            sizes_of(nothing, 102)
