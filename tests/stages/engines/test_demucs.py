"""Demucs takes music apart as its package does, whatever the length, rate and company of a recording, from local files alone."""

import json
import logging
import os
import pathlib
import random
import shutil
import warnings
import zipfile
from fractions import Fraction

import numpy as np
import pytest
import yaml
from checkpoints import make_demucs, save_demucs

torch = pytest.importorskip("torch")
pytest.importorskip("demucs")

from manifests.errors import Rejected, RequestError  # noqa: E402
from stages.engines.demucs import Demucs  # noqa: E402
from stages.engines.registry import load  # noqa: E402

RATE = 44_100
FOUR = ["drums", "bass", "other", "vocals"]
SIX = [*FOUR, "guitar", "piano"]
SEGMENT = Fraction(1)  # s
STEP = round(0.75 * SEGMENT * RATE)  # samples from segment to segment
CLOSE = {"rtol": 0, "atol": 2e-6}  # stems here are of some hundredths
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def repo(tmp_path_factory) -> pathlib.Path:
    """A folder of models and a bag; not to be changed."""
    from demucs.hdemucs import HDemucs

    folder = tmp_path_factory.mktemp("demucs")
    save_demucs(folder, "four", make_demucs(1, FOUR), training_args={"best": np.float64(0.5)})
    save_demucs(folder, "second", make_demucs(2, FOUR))
    save_demucs(folder, "six", make_demucs(3, SIX))
    save_demucs(folder, "wandering", make_demucs(4, FOUR, t_sin_random_shift=500, t_weight_pos_embed=20.0))
    save_demucs(folder, "older", HDemucs(FOUR, channels=4, dconv_comp=2, segment=4))
    (folder / "bag.yaml").write_text(yaml.safe_dump({"models": ["four", "second"], "weights": [[1.0, 0.0, 1.0, 3.0], [0.0, 1.0, 1.0, 1.0]]}))
    return folder


@pytest.fixture(scope="module")
def four(repo) -> Demucs:
    return Demucs(model="four", repo=str(repo))


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Empty caches of the hub's and of torch's, and no leave to go online; gives the folder of both."""
    from huggingface_hub.utils import reset_sessions

    reset_sessions()  # they keep whether they may go online
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    yield tmp_path
    reset_sessions()


def music(samples: int, channels: int = 2, seed: int = 0) -> np.ndarray:
    """Noise and a tone, of RMS 0.1, float32 (channels, samples)."""
    noise = np.random.default_rng([seed, samples]).standard_normal((channels, samples))
    return (0.07 * noise + 0.1 * np.sin(np.arange(samples) * (0.02 + 0.01 * seed))).astype(np.float32)


def assert_same(found: dict, expected: dict, **tolerance) -> None:
    assert list(found) == list(expected)
    for label in found:
        np.testing.assert_allclose(found[label], expected[label], err_msg=label, **(tolerance or CLOSE))


@pytest.mark.parametrize(("model", "samples", "options"), [
    ("four", 3 * STEP, {}), ("bag", 2 * STEP, {}), ("older", 70_001, {}), ("older", 200_000, {}),
    ("four", 3 * 17_640, {"segment": 0.8, "overlap": 0.5}), ("older", 70_001, {"segment": 0.5, "overlap": 0.0}),
])
def test_it_gives_what_the_packages_own_separator_gives_less_the_mean_that_it_adds(repo, model, samples, options):
    from demucs.apply import apply_model
    from demucs.pretrained import get_model

    audio = music(samples) + np.float32(0.03)
    wave = torch.from_numpy(audio)
    mean, std = wave.mean(0).mean(), wave.mean(0).std() + 1e-8
    theirs = (apply_model(get_model(model, repo), ((wave - mean) / std)[None], shifts=0, **options) * std)[0].numpy()
    ours = Demucs(model=model, repo=str(repo), **options).separate([audio], RATE)[0]
    assert_same(ours, dict(zip(["drums", "bass", "accompaniment", "vocals"], theirs)))
    assert min(np.sqrt(np.mean(stem**2)) for stem in ours.values()) > 1e-3


@pytest.mark.parametrize(("rate", "channels", "samples"), [
    (44_100, 1, 1), (44_100, 2, 1), (44_100, 2, 1_000), (44_100, 1, 60_201), (8_000, 1, 1), (8_000, 1, 9_001),
    (48_000, 2, 30_001), (96_000, 2, 1), (192_000, 1, 3), (96_000, 1, 50_000),
])
def test_stems_are_of_the_recordings_shape(four, rate, channels, samples):
    audio = music(samples, channels)
    before = audio.copy()
    stems = four.separate([audio], rate)[0]
    assert list(stems) == ["drums", "bass", "accompaniment", "vocals"]
    for stem in stems.values():
        assert stem.shape == audio.shape and stem.dtype == np.float32 and np.isfinite(stem).all()
        assert samples < 1_000 or np.sqrt(np.mean(stem**2)) > 5e-4
    np.testing.assert_array_equal(audio, before)


def test_other_rates_are_resampled_there_and_back(four):
    """A recording at 88.2 kHz of what 44.1 kHz holds has the stems of that, brought to 88.2 kHz."""
    import soxr

    audio = music(STEP)
    stems = four.separate([soxr.resample(audio.T, RATE, 2 * RATE).T], 2 * RATE)[0]
    for label, stem in four.separate([audio], RATE)[0].items():
        expected = soxr.resample(stem.T, RATE, 2 * RATE).T
        middle = slice(4_000, -4_000)  # the ends ring
        assert np.sqrt(np.mean((stems[label] - expected)[:, middle] ** 2)) < 0.03 * np.sqrt(np.mean(expected**2)), label


def test_six_stems_are_named_as_people_name_them(repo):
    engine = Demucs(model="six", repo=str(repo))
    assert list(engine.separate([music(30_000)], RATE)[0]) == ["drums", "bass", "accompaniment", "vocals", "guitar", "piano"]
    assert engine.tier == "real"


@pytest.mark.parametrize("options", [{"model": "bag"}, {"model": "older"}, {"model": "wandering", "shifts": 1}])
def test_the_answer_to_a_recording_is_its_own(repo, options):
    """Whatever stands beside it, before it and after it, and whatever chance was drawn elsewhere."""
    engine = Demucs(**options, repo=str(repo))
    recordings = [music(20_000), music(STEP + 9, 1, 1), np.zeros((2, 20_000), np.float32), music(20_000, 2, 2), music(31_000, 2, 3)]
    together = engine.separate(recordings, RATE)
    random.seed(5), torch.manual_seed(6)
    backwards = engine.separate(recordings[::-1], RATE)[::-1]
    for place, audio in enumerate(recordings):
        alone = engine.separate([audio], RATE)[0]
        assert_same(together[place], alone)
        assert_same(backwards[place], alone)
    assert np.abs(together[0]["vocals"] - together[3]["vocals"]).max() > 1e-3


def test_recordings_of_as_many_steps_are_given_to_the_model_together(four, monkeypatch):
    import demucs.apply

    sizes = []
    apply = demucs.apply.apply_model
    monkeypatch.setattr(demucs.apply, "apply_model", lambda model, mix, **options: sizes.append(tuple(mix.shape)) or apply(model, mix, **options))
    four.separate([music(1), music(STEP), music(STEP + 1), music(700, 1)], RATE)
    assert (3, 2, STEP) in sizes and (1, 2, 2 * STEP) in sizes


def test_a_recording_of_many_channels_is_rejected_in_its_place(four):
    answers = four.separate([music(5_000), music(5_000, 6), music(5_000, 1)], RATE)
    assert isinstance(answers[1], Rejected) and "6 channels" in str(answers[1])
    assert [answer["vocals"].shape for answer in (answers[0], answers[2])] == [(2, 5_000), (1, 5_000)]
    assert four.separate([], RATE) == []


@pytest.mark.parametrize("model", ["four", "bag", "older"])
@pytest.mark.parametrize("level", [0.0, 0.25])
def test_silence_and_a_bare_offset_have_silent_stems(repo, model, level):
    engine = Demucs(model=model, repo=str(repo))
    for samples in (50_000, 1):
        for stem in engine.separate([np.full((2, samples), level, np.float32)], RATE)[0].values():
            assert stem.shape == (2, samples) and np.abs(stem).max() < 1e-6


def test_channels_that_cancel_are_taken_apart_too(four):
    audio = music(30_000, 1)
    for stem in four.separate([np.concatenate([audio, -audio])], RATE)[0].values():
        assert np.isfinite(stem).all() and 1e-4 < np.abs(stem).max() < 1


def test_level_changes_nothing_but_the_level(four):
    audio = music(40_000)
    usual = four.separate([audio], RATE)[0]
    for factor in (1 / 64, 64):
        scaled = four.separate([audio * np.float32(factor)], RATE)[0]
        assert_same({label: stem / factor for label, stem in scaled.items()}, usual, rtol=0, atol=1e-5)


def test_mono_is_both_channels_of_stereo(four):
    audio = music(40_000, 1)
    stereo = four.separate([np.repeat(audio, 2, axis=0)], RATE)[0]
    assert_same(four.separate([audio], RATE)[0], {label: stem.mean(axis=0, keepdims=True) for label, stem in stereo.items()})


@pytest.mark.parametrize("label", ["vocals", "accompaniment"])
def test_only_one_stem_and_the_sum_of_the_others(repo, four, label):
    audio = music(30_000)
    every = four.separate([audio], RATE)[0]
    assert_same(Demucs(model="four", repo=str(repo), only=label).separate([audio], RATE)[0],
                {label: every[label], "rest": sum(stem for other, stem in every.items() if other != label)})


def test_shifts_average_evenly_spaced_delays(repo):
    from demucs.apply import apply_model
    from demucs.pretrained import get_model

    audio = music(2 * STEP)
    scale = audio.mean(axis=0).std(ddof=1) + 1e-8
    mix = torch.from_numpy((audio - audio.mean()) / scale)[None]
    passes = [apply_model(get_model("four", repo), torch.nn.functional.pad(mix, (delay, 0)), shifts=0)[0, :, :, delay:] for delay in (5_512, 16_538)]
    stems = Demucs(model="four", repo=str(repo), shifts=2).separate([audio], RATE)[0]
    np.testing.assert_allclose(np.stack(list(stems.values())), (sum(passes) / 2 * scale).numpy(), **CLOSE)


def test_options_matter(repo, four):
    audio = music(2 * STEP)
    usual = four.separate([audio], RATE)[0]["vocals"]
    for options in ({"segment": 0.6}, {"overlap": 0.6}, {"shifts": 1}):
        found = Demucs(model="four", repo=str(repo), **options).separate([audio], RATE)[0]["vocals"]
        assert found.shape == usual.shape and np.abs(found - usual).max() > 1e-4, options


@pytest.mark.parametrize("options", [
    {"segment": 1.1}, {"segment": 0}, {"segment": -1.0}, {"segment": np.nan}, {"overlap": 1.0}, {"overlap": -0.1}, {"overlap": np.nan},
    {"shifts": -1}, {"shifts": 1.5}, {"batch": 0}, {"batch": 2.5}, {"only": "other"}, {"only": "violin"}, {"segment": 1.1, "model": "bag"},
])
def test_options_out_of_range_are_refused_by_name(repo, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        Demucs(**{"model": "four", "repo": str(repo), **options})


def test_a_segment_may_be_as_long_as_what_the_model_was_trained_on_and_an_older_models_longer(repo):
    audio = music(30_000)
    assert_same(Demucs(model="four", repo=str(repo), segment=1.0).separate([audio], RATE)[0], Demucs(model="four", repo=str(repo)).separate([audio], RATE)[0])
    assert Demucs(model="older", repo=str(repo), segment=9).separate([audio], RATE)[0]["bass"].shape == audio.shape


def test_the_registry_makes_it(repo):
    engine = load("separator", {"engine": "demucs", "model": "four", "repo": str(repo), "batch": 3, "device": "cpu"})
    assert type(engine) is Demucs and engine.batch == 3
    with pytest.raises(RequestError, match="separator: engine 'demucs'.*overlap is 2"):
        load("separator", {"engine": "demucs", "model": "four", "repo": str(repo), "overlap": 2})


class Unwanted:
    """What makes a folder when it is unpickled."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def test_no_file_runs_what_it_brings(tmp_path):
    save_demucs(tmp_path, "evil", make_demucs(1, FOUR), training_args=Unwanted(tmp_path / "made"))
    with pytest.raises(RequestError, match="evil-.*th is not a model that demucs saved: it holds posix.mkdir"):
        Demucs(model="evil", repo=str(tmp_path))
    assert not (tmp_path / "made").exists()


def test_numbers_that_an_older_numpy_saved_are_read(repo, tmp_path):
    with zipfile.ZipFile(next(repo.glob("four-*.th"))) as old, zipfile.ZipFile(tmp_path / "four.th", "w") as new:
        for name in old.namelist():
            held = old.read(name)
            assert not name.endswith("data.pkl") or b"numpy._core.multiarray" in held
            new.writestr(name, held.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    assert Demucs(model="four", repo=str(tmp_path)).separate([music(9)], RATE)[0]["bass"].any()


def write(folder: pathlib.Path, name: str, held: object) -> None:
    torch.save(held, folder / name)


@pytest.mark.parametrize(("make", "error", "message"), [
    (lambda folder: None, RequestError, "repo: there is no m-.*th and no m.yaml in .*it holds no models"),
    (lambda folder: save_demucs(folder, "n", make_demucs(1, FOUR)), RequestError, "repo: there is no m-.*it holds n$"),
    (lambda folder: (folder / "m.yaml").write_text("models: [n, o]"), RequestError, r"repo: m is made of n, o; put n-\*.th and o-\*.th into"),
    (lambda folder: (folder / "m.yaml").write_text(""), RequestError, "repo: .*m.yaml names no models"),
    (lambda folder: (folder / "m-00000000.th").write_bytes(b"0"), RuntimeError, "checksum.*m-00000000.th"),
    (lambda folder: (folder / "m.th").write_bytes(b"no model"), RequestError, "repo: .*m.th is not a model"),
    (lambda folder: (folder / "m.th").write_bytes(b""), RequestError, "repo: .*m.th is not a model"),
    (lambda folder: write(folder, "m.th", make_demucs(1, FOUR).state_dict()), RequestError, "repo: .*m.th is not a model"),
    (lambda folder: write(folder, "m.th", torch.zeros(2)), RequestError, "repo: .*m.th is not a model"),
    (lambda folder: save_demucs(folder, "m", make_demucs(1, FOUR), klass=Fraction), RequestError, "repo: .*m-.*th is not a model"),
    (lambda folder: save_demucs(folder, "m", make_demucs(1, FOUR), state=make_demucs(1, SIX).state_dict()), RuntimeError, "size mismatch"),
    (lambda folder: save_demucs(folder, "m", make_demucs(1, FOUR), state={"__quantized": True}), RequestError, "model: m is quantized, and needs diffq"),
    (lambda folder: save_demucs(folder, "m", make_demucs(1, FOUR, audio_channels=1)), RequestError, "model: m takes 1 channels"),
])
def test_a_wrong_checkpoint_is_refused_with_what_is_wrong(tmp_path, make, error, message):
    make(tmp_path)
    with pytest.raises(error, match=message):
        Demucs(model="m", repo=str(tmp_path))


def test_a_bag_whose_models_differ_is_refused(repo, tmp_path):
    folder = shutil.copytree(repo, tmp_path / "models")
    (folder / "mixed.yaml").write_text("models: [four, six]")
    with pytest.raises(RequestError, match="the models of .*mixed.yaml differ in stems"):
        Demucs(model="mixed", repo=str(folder))


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(RequestError, match=f"repo: there is no folder at {tmp_path}/nowhere; put"):
        Demucs(model="four", repo=f"{tmp_path}/nowhere")


def test_without_network_a_local_model_is_all_it_takes(repo, attempts):
    for model in ("four", "bag"):
        assert Demucs(model=model, repo=str(repo)).separate([music(9)], RATE)[0]
    assert attempts == []


@pytest.mark.parametrize("name", ["htdemucs", "nobodys_model", "no model"])
def test_what_the_hub_does_not_give_is_refused_with_where_to_put_it(hub, attempts, name):
    with pytest.raises(RequestError, match=f"model: {name} is in no cache.*adefossez/.*as repo"):
        Demucs(model=name)
    assert attempts == []


def test_a_hub_that_cannot_be_reached_is_told(hub, attempts, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between its tries
    with pytest.raises(RequestError, match=r"model: htdemucs .*\(LocalEntryNotFoundError\): fetch adefossez/HTDemucs into"):
        Demucs()
    assert attempts and not any("fbaipublicfiles" in str(address) for address in attempts)


def test_a_model_in_the_hubs_cache_is_loaded_from_there(repo, four, hub, attempts):
    from safetensors.torch import save_file

    model = make_demucs(1, FOUR)
    args, kwargs = model._init_args_kwargs
    kwargs = {**kwargs, "segment": {"_type": "fraction", "numerator": SEGMENT.numerator, "denominator": SEGMENT.denominator}}
    snapshot = hub / "hub" / "models--adefossez--HTDemucs" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("abc")
    (snapshot / "htdemucs.yaml").write_text("models: [abcdef]")
    save_file({key: value.contiguous().clone() for key, value in model.state_dict().items()}, snapshot / "abcdef.safetensors",
              {"klass": "demucs.htdemucs.HTDemucs", "args": json.dumps(args), "kwargs": json.dumps(kwargs)})
    audio = music(30_000)
    assert_same(Demucs().separate([audio], RATE)[0], four.separate([audio], RATE)[0])
    assert attempts == []


def test_a_model_that_torch_once_downloaded_is_found_under_the_packages_name(hub, attempts, four):
    cache = hub / "torch" / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    save_demucs(cache, "955717e8", make_demucs(1, FOUR))
    audio = music(30_000)
    for engine in (Demucs(), Demucs(model="955717e8"), Demucs(repo=str(cache))):
        assert_same(engine.separate([audio], RATE)[0], four.separate([audio], RATE)[0])
    assert attempts == []


def process_state() -> dict:
    return {
        "random": random.getstate(), "numpy": repr(np.random.get_state()), "torch": torch.get_rng_state().tolist(), "grad": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(), "dtype": torch.get_default_dtype(), "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(), "loadable": sorted(map(str, torch.serialization.get_safe_globals())),
        "level": logging.root.level, "handlers": list(logging.root.handlers), "warnings": list(warnings.filters), "environment": dict(os.environ),
    }


def test_the_process_is_left_as_it_was_and_nothing_is_printed(repo, capfd):
    torch.serialization.add_safe_globals([Fraction])  # as others may have
    try:
        before = process_state()
        engine = Demucs(model="bag", repo=str(repo), shifts=2)
        loaded = process_state()
        engine.separate([music(2 * STEP + 1), music(5)], RATE)
        assert loaded == before and process_state() == before
        assert Fraction in torch.serialization.get_safe_globals()
    finally:
        torch.serialization.clear_safe_globals()
    printed = capfd.readouterr()
    assert printed.out == printed.err == ""


def test_a_chance_in_the_model_itself_is_the_same_each_time(repo):
    engine, audio = Demucs(model="wandering", repo=str(repo)), music(2 * STEP)
    first = engine.separate([audio], RATE)[0]
    random.random()
    assert_same(engine.separate([audio], RATE)[0], first, rtol=0, atol=0)
