"""The scorer gives what its package gives, of any sound and text, from checkpoints as published, and leaves the process as it was."""

import logging
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

from manifests.errors import RequestError
from stages.engines import laion_clap
from stages.engines.laion_clap import LaionClap, pieces

RATE = 48_000
TEXTS = ["dog", "rain on a roof", "This is a sound of a dog barking.", "x", ""]
REFERENCE = '''
"""Random weights of the package's own model, stored as it publishes them, and what the package makes of sounds and texts."""

import pickle
import sys
import types

import numpy as np
import torch
import transformers
from tokenizers import ByteLevelBPETokenizer

folder, *texts = sys.argv[1:]
sys.argv = sys.argv[:1]
tokenizer = ByteLevelBPETokenizer()
tokenizer.train_from_iterator(texts * 4, vocab_size=300, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
tokenizer.save_model(folder)
config = transformers.RobertaConfig(vocab_size=tokenizer.get_vocab_size(), hidden_size=768, num_hidden_layers=1, num_attention_heads=4,
                                    intermediate_size=64, max_position_embeddings=80, type_vocab_size=1)
config.save_pretrained(folder)
torch.manual_seed(0)
tokens = transformers.RobertaTokenizer(f"{folder}/vocab.json", f"{folder}/merges.txt")
transformers.RobertaTokenizer.from_pretrained = classmethod(lambda kind, name: tokens)
transformers.RobertaModel.from_pretrained = classmethod(lambda kind, name: kind(config))

import laion_clap

SCALAR = np.float64(0).__reduce__()[0]


class Older(pickle._Pickler):
    """Writes numbers of NumPy as NumPy 1 did."""

    def save_global(self, what, name=None):
        if what is not SCALAR:
            return super().save_global(what, name)
        self.write(b"cnumpy.core.multiarray\\nscalar\\n")
        self.memoize(what)


older = types.SimpleNamespace(__name__="older", Pickler=Older)
sounds = np.load(f"{folder}/sounds.npz")
for fusion in (False, True):
    package = laion_clap.CLAP_Module(enable_fusion=fusion, device="cpu")
    model = package.model
    model.audio_branch.bn0.running_mean.fill_(-30)
    model.audio_branch.bn0.running_var.fill_(400)
    state = {f"module.{name}": value for name, value in model.state_dict().items()}
    state["module.text_branch.embeddings.position_ids"] = torch.arange(80)[None]
    held = {"epoch": 15, "name": "a run", "state_dict": state, "best": np.float64(0.9), "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}}}
    torch.save(held, f"{folder}/{'fusion' if fusion else 'plain'}.pt", pickle_module=older)
    audio, text = package.get_audio_embedding_from_data(sounds.values()), package.get_text_embedding(texts)
    np.save(f"{folder}/{'fusion' if fusion else 'plain'}.npy", audio @ text.T)
'''


def tone(pitch: float, seconds: float, rate: int = RATE, channels: int = 1) -> np.ndarray:
    """A tone and some noise, float32 (channels, samples)."""
    samples = max(1, round(seconds * rate))
    wave = 0.3 * np.sin(2 * np.pi * pitch * np.arange(samples) / rate) + 0.01 * np.random.default_rng(1).standard_normal((channels, samples))
    return wave.astype(np.float32)


NOISE = np.random.default_rng(0).standard_normal((1, 70_000)).astype(np.float32) / 9
SOUNDS = [tone(440, 10), 4 * tone(100, 0.3), NOISE]


pytestmark = pytest.mark.usefixtures("one_thread", "attempts")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Checkpoints, a text model, and what the package says."""
    made = tmp_path_factory.mktemp("clap")
    np.savez(made / "sounds.npz", *(sound[0] for sound in SOUNDS))
    with subprocess.Popen([sys.executable, "-c", REFERENCE, str(made), *TEXTS], env={**os.environ, "OMP_NUM_THREADS": "1"},
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as making:
        from transformers import RobertaModel  # noqa: F401  # takes as long

        errors = making.communicate()[1]
    assert making.returncode == 0, errors
    yield made
    shutil.rmtree(made)


def options(folder: pathlib.Path, name: str = "plain", **changes) -> dict:
    return {"checkpoint": str(folder / f"{name}.pt"), "text_model": str(folder), "fusion": name == "fusion", "device": "cpu", **changes}


@pytest.fixture(scope="module")
def engine(folder) -> LaionClap:
    return LaionClap(**options(folder))


def state_of_the_process() -> dict:
    root = logging.getLogger()
    return {
        "path": sys.path[:], "arguments": sys.argv[:], "environment": dict(os.environ), "files": os.listdir(), "log": (root.level, root.handlers[:]),
        "chance": (torch.random.get_rng_state().tolist(), repr(np.random.get_state()), random.getstate()),
        "torch": (torch.is_grad_enabled(), torch.get_default_dtype(), torch.get_num_threads(), np.dtype in torch.serialization.get_safe_globals()),
    }


def test_the_process_stays_as_it_was(folder, attempts, tmp_path, monkeypatch, capfd):
    """Nothing is printed, written, reported or fetched, no argument of the program is read, and no generator moves."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["audioedit", "build", "--no-option-of-the-package"])
    before = state_of_the_process()
    LaionClap(**options(folder)).score([tone(440, 1)], RATE, [["dog"]])
    assert state_of_the_process() == before
    assert capfd.readouterr().out == "" and attempts == []
    assert not {"wandb", "laion_clap", "training"} & sys.modules.keys()


@pytest.mark.parametrize("name", ["plain", "fusion"])
def test_scores_are_those_of_the_package(folder, name):
    said = np.load(folder / f"{name}.npy")
    assert said.shape == (len(SOUNDS), len(TEXTS)) and said.std(axis=0).min() > 1e-3 and said.std(axis=1).min() > 1e-4
    scores = LaionClap(**options(folder, name)).score(SOUNDS, RATE, [TEXTS] * len(SOUNDS))
    np.testing.assert_allclose(np.stack(scores), said, atol=2e-6)


def test_each_recording_is_scored_against_its_own_texts_whatever_else_is_in_the_batch(folder, engine):
    sounds = [tone(200, 0.5, 44_100), tone(900, 11, 44_100, 2), np.zeros((1, 3_000), np.float32), np.full((2, 1), 0.5, np.float32), tone(4000, 2, 44_100)]
    texts = [TEXTS[:2], TEXTS, ["y"], [], [TEXTS[1], "a new one " * 9, TEXTS[1]]]
    together = engine.score(sounds, 44_100, texts)
    assert [score.shape for score in together] == [(2,), (5,), (1,), (0,), (3,)]
    assert all(score.dtype == np.float32 and np.isfinite(score).all() and (np.abs(score) <= 1).all() for score in together)
    assert together[4][0] == pytest.approx(together[4][2], abs=1e-6) and abs(together[4][0] - together[4][1]) > 1e-5
    small = LaionClap(**options(folder, batch=2))
    for some in ([4], [2, 0], [3, 1]):
        for n, score in zip(some, small.score([sounds[n] for n in some], 44_100, [texts[n] for n in some])):
            np.testing.assert_allclose(score, together[n], atol=2e-6)


def counting(method, sizes: list):
    def counted(data):
        sizes.append(len(data if isinstance(data, list) else data["input_ids"]))
        return method(data)

    return counted


def test_a_batch_is_never_exceeded(folder, engine, monkeypatch):
    sizes = []
    for method in ("get_audio_embedding", "get_text_embedding"):
        monkeypatch.setattr(engine._model, method, counting(getattr(engine._model, method), sizes))
    monkeypatch.setattr(engine, "batch", 2)
    engine.texts.clear()
    engine.score([tone(440, 12), tone(220, 1)], RATE, [TEXTS, TEXTS])
    assert sizes == [2, 2, 1, 2, 1]  # five texts, three pieces


def test_no_recordings_no_scores(engine):
    assert engine.score([], RATE, []) == []


@pytest.mark.parametrize(("rate", "samples"), [(192_000, 1), (8_000, 1), (48_000, 480_001)])
def test_silence_of_any_length_has_a_finite_score(engine, rate, samples):
    (score,) = engine.score([np.zeros((1, samples), np.float32)], rate, [["dog", "x"]])
    assert score.shape == (2,) and np.isfinite(score).all()


def test_a_long_sound_is_the_mean_of_its_pieces(engine):
    sound = np.concatenate([tone(440, 10), tone(2000, 5), NOISE[:, :20_000]], axis=1)
    parts = [sound[:, : 10 * RATE], sound[:, -10 * RATE :]]
    long, *short = engine.score([sound, *parts], RATE, [TEXTS] * 3)
    total = np.sum(short, axis=0)
    np.testing.assert_allclose(long / np.linalg.norm(long), total / np.linalg.norm(total), atol=1e-5)
    assert 0.5 <= np.linalg.norm(long) / np.linalg.norm(total) <= 1  # the mean has length one again
    assert np.abs(short[0] - short[1]).max() > 1e-3


def test_pieces_cover_all_and_the_last_ends_where_the_sound_ends():
    for samples, begins in ((1, [0]), (10, [0]), (11, [0, 1]), (20, [0, 10]), (29, [0, 10, 19])):
        cut = pieces(np.arange(2 * samples).reshape(2, samples), 10)
        assert [int(piece[0, 0]) for piece in cut] == begins and all(piece.shape == (2, min(10, samples)) for piece in cut)


def test_channels_are_mixed_and_another_rate_sounds_the_same(engine):
    mono = tone(1000, 2)
    wide = np.concatenate([1.5 * mono, 0.5 * mono])
    other = 0.3 * np.sin(2 * np.pi * 1000 * np.arange(2 * 44_100) / 44_100)
    same = 0.3 * np.sin(2 * np.pi * 1000 * np.arange(2 * RATE) / RATE)
    scores = engine.score([mono, wide, tone(5000, 2), same[None].astype(np.float32)], RATE, [TEXTS] * 4)
    np.testing.assert_allclose(scores[1], scores[0], atol=1e-4)
    resampled = engine.score([other[None].astype(np.float32)], 44_100, [TEXTS])[0]
    assert np.abs(resampled - scores[3]).max() < 0.2 * np.abs(scores[2] - scores[3]).max()


def test_the_recording_is_left_as_it_was(engine):
    sound = 3 * tone(440, 1, channels=2)
    before = sound.copy()
    first, again = (engine.score([sound], RATE, [TEXTS])[0] for _ in range(2))
    np.testing.assert_array_equal(sound, before)
    np.testing.assert_array_equal(first, again)


def test_embeddings_of_texts_are_kept_and_bounded_and_change_nothing(engine, monkeypatch):
    sound = tone(440, 0.2)
    engine.texts.clear()
    (first,) = engine.score([sound], RATE, [TEXTS])
    assert set(engine.texts) == set(TEXTS)
    engine.texts["dog"] = -engine.texts["dog"]
    assert engine.score([sound], RATE, [["dog"]])[0] == pytest.approx(-first[0], abs=1e-6)
    engine.texts.clear()
    monkeypatch.setattr(laion_clap, "KEPT", 2)
    for _ in range(2):
        np.testing.assert_allclose(engine.score([sound], RATE, [TEXTS])[0], first, atol=2e-6)
        assert len(engine.texts) == 2


def test_of_a_long_text_the_beginning_counts(engine):
    words = "rain on a roof and a dog " * 20
    long, longer, other = engine.score([tone(440, 0.2)], RATE, [[words, words + "x", "x" + words]])[0]
    assert long == pytest.approx(longer, abs=1e-6) and abs(other - long) > 1e-5


@pytest.mark.parametrize(("option", "value"), [("batch", 0), ("batch", -1), ("amodel", "HTSAT-huge"), ("amodel", "../HTSAT-tiny")])
def test_options_out_of_range_are_refused_by_name(folder, option, value):
    with pytest.raises(ValueError, match=option):
        LaionClap(**options(folder, **{option: value}))


@pytest.mark.parametrize("option", ["checkpoint", "text_model"])
def test_a_path_where_nothing_lies_is_named(folder, option, attempts):
    with pytest.raises(RequestError, match=f"{option}: there is no checkpoint at /nowhere/weights.pt"):
        LaionClap(**options(folder, **{option: "/nowhere/weights.pt"}))
    assert attempts == []


@pytest.fixture
def offline(monkeypatch):
    """What HF_HUB_OFFLINE does where it is set before the process starts."""
    from huggingface_hub import constants
    from huggingface_hub.utils import reset_sessions

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    reset_sessions()
    yield
    reset_sessions()


@pytest.mark.parametrize(("option", "value", "named"), [
    ("checkpoint", "music_of_nobody.pt", "music_of_nobody.pt"), ("checkpoint", None, "630k-audioset-best.pt"),
    ("text_model", "roberta-of-nobody", "roberta-of-nobody"),
])
def test_what_the_hub_does_not_give_is_named_in_one_line(folder, offline, attempts, option, value, named):
    with pytest.raises(RequestError) as refused:
        LaionClap(**options(folder, **{option: value}))
    assert re.fullmatch(f"{option}: .*'{named}'.*hub.*", str(refused.value)) and attempts == []


@pytest.mark.parametrize("lacking", ["config.json", "vocab.json", "merges.txt"])
def test_a_folder_that_lacks_of_the_text_model_is_named(folder, tmp_path, attempts, lacking):
    other = tmp_path / "other"
    shutil.copytree(folder, other, ignore=shutil.ignore_patterns("*.pt", "*.np?", lacking))
    with pytest.raises(RequestError, match=f"text_model: {other} lacks .*{lacking}"):
        LaionClap(**options(folder, text_model=str(other)))
    assert attempts == []


class Evil:
    """Writes a file where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return pathlib.Path.touch, (self.path,)


@pytest.mark.parametrize(("content", "reason"), [
    (b"not a file of torch", "cannot be read as weights of torch"), (b"", "cannot be read as weights of torch"), (b"PK\x03\x04 cut off", "cannot be read"),
    ([torch.zeros(2)], "holds no weights by name"), ({"state_dict": {"a": "b"}}, "holds no weights by name"), ({"state_dict": 3}, "holds no weights by name"),
    ({"state_dict": {"module.a": torch.zeros(2)}}, "does not fit .*HTSAT-tiny.* tensors are missing, such as .*; 1 of its tensors is unknown, such as a"),
])
def test_what_is_no_checkpoint_is_refused_in_one_line(folder, tmp_path, content, reason):
    path = tmp_path / "wrong.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(RequestError, match=f"^checkpoint: {path} {reason}.*$"):
        LaionClap(**options(folder, checkpoint=str(path)))


def test_a_checkpoint_cannot_run_code(folder, tmp_path):
    torch.save({"state_dict": {}, "evil": Evil(tmp_path / "ran")}, tmp_path / "evil.pt")
    with torch.serialization.safe_globals([np.dtype]):
        with pytest.raises(RequestError, match="Unsupported"):
            LaionClap(**options(folder, checkpoint=str(tmp_path / "evil.pt")))
        assert np.dtype in torch.serialization.get_safe_globals()  # what others have allowed stays allowed
    assert not (tmp_path / "ran").exists()


def test_a_checkpoint_of_another_shape_is_refused(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "other", ignore=shutil.ignore_patterns("*.pt", "*.np?"))
    config = tmp_path / "other" / "config.json"
    config.write_text(config.read_text().replace('"intermediate_size": 64', '"intermediate_size": 65'))
    with pytest.raises(RequestError, match="^checkpoint: .*plain.pt does not fit .*3 of its tensors are of another shape, such as text_branch[^\n]*$"):
        LaionClap(**options(folder, text_model=str(tmp_path / "other")))
    with pytest.raises(RequestError, match="fusion True .* tensors are missing"):
        LaionClap(**options(folder, fusion=True))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_not_promised(folder):
    with pytest.raises(RequestError, match="device"):
        LaionClap(**options(folder, device="cuda"))
