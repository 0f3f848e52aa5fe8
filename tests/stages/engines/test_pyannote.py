"""Who speaks when is told by pipelines of pyannote.audio: with networks of random weights, and with a segmentation that was trained.

The trained one is the multi-speaker segmentation network that the package whisperx carries and uses for voice activity. The embeddings
are those of a network of random weights in every pipeline: enough to tell apart two voices of espeak as unlike as these, no more.
"""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import warnings

import numpy as np
import pytest
import yaml
from checkpoints import LINKED, configure_diarization, make_diarization_networks

from manifests.errors import Rejected, RequestError
from stages.engines import SILENCE, registry
from stages.engines.espeak import Espeak
from stages.engines.protocols import Turn
from stages.engines.pyannote import RATE, Pyannote

if importlib.util.find_spec("pyannote") is None or importlib.util.find_spec("pyannote.audio") is None:
    pytest.skip("pyannote.audio is not installed", allow_module_level=True)

TEXTS = ("the farmer walked slowly home", "she opened the window again", "we shall meet at the station")
VOICES = ("en-us+david", "en-gb-scotland+f3")
DIMENSION = 16  # of an embedding
ROOT = pathlib.Path(__file__).parents[3]
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    """A pipeline of the form of community-1: powerset segmentation, embeddings, PLDA, VBx. Its networks are small and of random weights."""
    for key, value in SILENCE.items():
        os.environ.setdefault(key, value)
    made = tmp_path_factory.mktemp("pipeline")
    with warnings.catch_warnings(action="ignore"):
        make_diarization_networks(made, DIMENSION)
    configure_diarization(made / "config.yaml", embedding_exclude_overlap=True, segmentation_step=0.25)
    configure_diarization(made / "linked.yaml", "AgglomerativeClustering", LINKED)
    return made


@pytest.fixture(scope="module")
def random_weights(folder) -> Pyannote:
    return registry.load("diarizer", {"engine": "pyannote", "pipeline": str(folder), "device": "cpu"})


@pytest.fixture(scope="module")
def trained(folder) -> str:
    """A pipeline whose segmentation was trained."""
    found = importlib.util.find_spec("whisperx")
    if found is None:
        pytest.skip("whisperx is not installed")
    weights = str(pathlib.Path(found.origin).parent / "assets" / "pytorch_model.bin")
    return configure_diarization(folder / "trained.yaml", "AgglomerativeClustering", LINKED, {"threshold": 0.5}, segmentation=weights)


@pytest.fixture(scope="module")
def dialogue() -> tuple[np.ndarray, list[tuple[float, float]]]:
    """Two voices in turn, four times, with pauses: (1, samples), and when each speaks, in s."""
    made, parts, spoken, at = Espeak(), [], [], 0
    for text, voice in zip((*TEXTS, TEXTS[0]), VOICES * 2):
        audio, words = made.speak(text, voice, RATE)
        spoken.append((at / RATE + 0.6 + words[0].start, at / RATE + 0.6 + words[-1].end))
        parts += [np.zeros((1, round(0.6 * RATE)), np.float32), audio]
        at += parts[-2].shape[1] + parts[-1].shape[1]
    return np.concatenate([*parts, np.zeros((1, RATE), np.float32)], axis=1), spoken


def sound(seconds: float, rate: int = RATE, channels: int = 1, seed: int = 0) -> np.ndarray:
    """Noise that comes and goes, (channels, samples), at least one sample."""
    chance, samples = np.random.default_rng(seed), max(1, round(seconds * rate))
    loud = np.sin(2 * np.pi * 0.7 * np.arange(samples) / rate + seed) > 0
    return (0.1 * chance.standard_normal((channels, samples)) * loud).astype(np.float32)


def in_order(turns: list[Turn], seconds: float) -> bool:
    """Starts rise, every turn lies within the recording, and speakers are numbered as they come."""
    names = [*dict.fromkeys(turn.speaker for turn in turns)]
    return (all(isinstance(turn, Turn) and 0 <= turn.start < turn.end <= seconds for turn in turns)
            and [turn.start for turn in turns] == sorted(turn.start for turn in turns)
            and names == [f"speaker {n + 1}" for n in range(len(names))])


@pytest.mark.parametrize(("rate", "channels"), [(8_000, 1), (16_000, 2), (44_100, 2)])
def test_turns_lie_in_the_recording_in_order_whatever_its_rate_channels_and_length(random_weights, rate, channels):
    recordings = [sound(seconds, rate, channels, seed=1) for seconds in (0, 0.02, 0.5, 1.3, 2.0, 3.7)]
    answers = random_weights.diarize(recordings, rate)
    assert len(answers) == len(recordings)
    for audio, turns in zip(recordings, answers):
        assert in_order(turns, audio.shape[1] / rate)
    assert len(answers[-1]) > 3


def test_an_answer_depends_on_its_recording_alone(random_weights):
    recordings = [sound(2.5, seed=1), sound(0), np.zeros((1, RATE), np.float32), sound(4.1, channels=2, seed=2), sound(1.1, seed=3)]
    before = [audio.copy() for audio in recordings]
    together = random_weights.diarize(recordings, RATE)
    assert together == [random_weights.diarize([audio], RATE)[0] for audio in recordings]
    assert together == random_weights.diarize(recordings[::-1], RATE)[::-1]
    assert together[0] and together[0] != together[3]
    assert all(np.array_equal(was, audio) for was, audio in zip(before, recordings))


def test_how_many_windows_go_together_changes_nothing(random_weights, folder):
    one = Pyannote(pipeline=str(folder), windows=1, device="cpu")
    audio = sound(4.5, seed=4)
    found, other = random_weights.diarize([audio], RATE)[0], one.diarize([audio], RATE)[0]
    assert len(found) > 3 and [turn.speaker for turn in found] == [turn.speaker for turn in other]
    np.testing.assert_allclose([(turn.start, turn.end) for turn in found], [(turn.start, turn.end) for turn in other], atol=0.02)


def test_nobody_speaks_in_silence(random_weights, trained):
    """The random network alone would hear somebody in it."""
    silent = [np.zeros((channels, samples), np.float32) for channels, samples in ((1, 1), (1, 160), (2, RATE), (1, 7 * RATE))]
    assert random_weights.diarize(silent, RATE) == [[]] * len(silent)
    assert random_weights.diarize([np.full((1, 1), 0.5, np.float32)], 96_000) == [[]]  # less than a sample at 16 kHz
    faint = np.random.default_rng(0).normal(0, 1e-5, (1, 6 * RATE)).astype(np.float32)
    assert Pyannote(pipeline=trained, device="cpu").diarize([faint], RATE) == [[]]


def test_voices_are_found_where_they_speak_and_told_apart(trained, dialogue):
    """Without being told how many there are: the threshold of the clustering was chosen for these two."""
    audio, spoken = dialogue
    turns, other = Pyannote(pipeline=trained, device="cpu").diarize([audio, audio[:, : round((spoken[0][1] + 0.3) * RATE)]], RATE)
    assert in_order(turns, audio.shape[1] / RATE)
    assert [turn.speaker for turn in turns] == ["speaker 1", "speaker 2"] * 2
    np.testing.assert_allclose([(turn.start, turn.end) for turn in turns], spoken, atol=0.2)
    assert [turn.speaker for turn in other] == ["speaker 1"]


def test_rate_and_channels_of_speech_do_not_matter(trained, dialogue):
    import soxr

    audio = dialogue[0][:, : 6 * RATE]
    stereo = np.repeat(soxr.resample(audio[0], RATE, 44_100)[None], 2, axis=0)
    engine = Pyannote(pipeline=trained, device="cpu")
    native, other = engine.diarize([audio], RATE)[0], engine.diarize([stereo], 44_100)[0]
    assert native and [turn.speaker for turn in native] == [turn.speaker for turn in other]
    np.testing.assert_allclose([(turn.start, turn.end) for turn in native], [(turn.start, turn.end) for turn in other], atol=0.05)


def test_two_who_speak_at_once_have_turns_that_overlap(trained):
    made = Espeak()
    first, second = (made.speak(text, voice, RATE)[0] for text, voice in zip(TEXTS, VOICES))
    audio = np.zeros((1, round(1.2 * RATE) + second.shape[1]), np.float32)
    audio[:, : first.shape[1]] += first
    audio[:, -second.shape[1] :] += second
    turns = Pyannote(pipeline=trained, speakers=2, device="cpu").diarize([audio], RATE)[0]
    assert {turn.speaker for turn in turns} == {"speaker 1", "speaker 2"}
    assert any(before.end > after.start + 0.1 for before, after in zip(turns, turns[1:]))


def test_as_many_speak_as_are_asked_for(trained, dialogue):
    audio = dialogue[0][:, : 6 * RATE]
    for options, many in (({"speakers": 1}, 1), ({"min_speakers": 3}, 3), ({"min_speakers": 2, "max_speakers": 127}, 2)):
        turns = Pyannote(pipeline=trained, device="cpu", **options).diarize([audio], RATE)[0]
        assert len({turn.speaker for turn in turns}) == many, options


def test_more_speakers_than_there_are_windows_are_not_found(folder, capfd):
    """VBx cannot part so few embeddings; linkage comes as near as it can, and says so on a stdout that is not its own."""
    recordings = [sound(3.0, seed=1), np.zeros((1, RATE), np.float32), sound(3.0, seed=2)]
    first, silent, last = Pyannote(pipeline=str(folder), speakers=127, device="cpu").diarize(recordings, RATE)
    assert isinstance(first, Rejected) and isinstance(last, Rejected) and "too little speech" in str(first)
    assert silent == []
    capfd.readouterr()
    turns = Pyannote(pipeline=str(folder / "linked.yaml"), speakers=9, device="cpu").diarize(recordings, RATE)[0]
    assert turns and len({turn.speaker for turn in turns}) < 9
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("options", "names"), [
    ({"speakers": 0}, "speakers"), ({"speakers": 1.5}, "speakers"), ({"min_speakers": -1}, "min_speakers"), ({"max_speakers": 0}, "max_speakers"),
    ({"speakers": 2, "max_speakers": 3}, "max_speakers"), ({"min_speakers": 4, "max_speakers": 3}, "max_speakers"), ({"windows": 0}, "windows"),
    ({"batch": 0}, "batch"), ({"max_speakers": 128}, "max_speakers"),
])
def test_an_option_out_of_range_is_named(options, names):
    with pytest.raises(ValueError, match=names):
        Pyannote(pipeline="/nowhere", **options)


def test_a_pipeline_that_is_not_there_is_told(folder, tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(RequestError, match="diarizer: engine 'pyannote': pipeline: there is no checkpoint at /nowhere/at/all"):
        registry.load("diarizer", {"engine": "pyannote", "pipeline": "/nowhere/at/all"})
    with pytest.raises(RequestError, match=f"no config.yaml in {tmp_path}"):
        Pyannote(pipeline=str(tmp_path), device="cpu")
    with pytest.raises(RequestError, match="there is no .*segmentation/pytorch_model.bin"):
        Pyannote(pipeline=configure_diarization(tmp_path / "a.yaml"), device="cpu")
    with pytest.raises(RequestError, match="nobody/knows.*does not come from the hub"):
        Pyannote(pipeline="nobody/knows", device="cpu")
    with pytest.raises(RequestError, match="does not come from the hub.*plda"):
        Pyannote(pipeline=configure_diarization(folder / "b.yaml", "AgglomerativeClustering", LINKED, plda=None), device="cpu")
    with pytest.raises(RequestError, match="does not come from the hub"):
        Pyannote(pipeline=configure_diarization(folder / "c.yaml", embedding="/nowhere/embedding.bin"), device="cpu")


def test_a_wrong_checkpoint_is_refused(folder, tmp_path):
    import torch

    good = torch.load(folder / "segmentation" / "pytorch_model.bin", weights_only=False)
    state = good["state_dict"]
    wrong = {
        "garbage": (None, RequestError), "plain": ({"state_dict": state}, RequestError),
        "shape": (good | {"state_dict": state | {"classifier.bias": torch.zeros(3)}}, RuntimeError),
        "lacks": (good | {"state_dict": {name: weights for name, weights in state.items() if name != "classifier.bias"}}, RuntimeError),
    }
    for name, (held, error) in wrong.items():
        (folder / name).mkdir()
        (folder / name / "pytorch_model.bin").write_bytes(b"nothing of the kind")
        if held:
            torch.save(held, folder / name / "pytorch_model.bin")
        with pytest.raises(error):
            Pyannote(pipeline=configure_diarization(folder / f"{name}.yaml", segmentation=f"$model/{name}"), device="cpu")
    other = {"pipeline": {"name": "pyannote.audio.pipelines.VoiceActivityDetection", "params": {"segmentation": "$model/segmentation"}}}
    (folder / "other.yaml").write_text(yaml.safe_dump(other))
    with pytest.raises(RequestError, match="is for VoiceActivityDetection"):
        Pyannote(pipeline=str(folder / "other.yaml"), device="cpu")
    with pytest.raises(RequestError, match="speakers"):
        Pyannote(pipeline=configure_diarization(folder / "means.yaml", "KMeansClustering", {}), device="cpu")


IN_A_PROCESS = """
import json, logging, os, pickle, random, sys, time, warnings

tried = []

def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo"):
        tried.append(str(arguments))
        raise OSError("there is no network")

sys.addaudithook(watch)
import numpy as np
import torch

from stages.engines import SILENCE, registry

def state():
    return {
        "torch": torch.random.get_rng_state().tolist(), "numpy": str(np.random.get_state()), "python": str(random.getstate()),
        "grad": torch.is_grad_enabled(), "inference": torch.is_inference_mode_enabled(), "dtype": str(torch.get_default_dtype()),
        "threads": torch.get_num_threads(), "tf32": [torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32],
        "filters": str(warnings.filters), "log": [logging.root.level, logging.root.manager.disable, str(logging.root.handlers)],
        "stdout": sys.stdout is sys.__stdout__, "environment": {name: os.environ.get(name) for name in ("HF_HUB_OFFLINE", "HF_TOKEN", "TORCH_HOME")},
    }

before = state()
engine = registry.load("diarizer", {"engine": "pyannote", "pipeline": sys.argv[1], "device": "cpu"})
audio = np.load(sys.argv[2])
turns = engine.diarize([audio], 16_000)[0]
time.sleep(1.2)  # the package reports twice a second
after = state()
silent = list(tried)
sys.stderr.write("-----")
os.environ["PYANNOTE_METRICS_ENABLED"] = "1"
engine.diarize([audio], 16_000)
for _ in range(50):
    time.sleep(0.1)
    if tried:
        break
print(json.dumps({"changed": [key for key in before if before[key] != after[key]], "tried": silent, "asked": tried,
                  "turns": [[turn.speaker, turn.start, turn.end] for turn in turns]}))
sys.stdout.flush()
os._exit(0)
"""


def test_nothing_is_sent_or_said_and_nothing_of_the_process_is_changed(random_weights, trained, dialogue, tmp_path):
    """In a process of its own, from the import on; where the environment asks for reports, one is tried, which shows that they would be seen."""
    audio = dialogue[0][:, : 3 * RATE]
    np.save(tmp_path / "audio.npy", audio)
    environment = {key: value for key, value in os.environ.items() if key not in SILENCE} | {
        "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", IN_A_PROCESS, trained, str(tmp_path / "audio.npy")], env=environment, cwd=tmp_path,
                          capture_output=True, text=True, timeout=100)
    assert done.stderr.partition("-----")[0] == "" and done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["changed"] == [] and told["tried"] == []
    assert any("otel.pyannote.ai" in attempt for attempt in told["asked"])
    assert told["turns"] == [[turn.speaker, turn.start, turn.end] for turn in Pyannote(pipeline=trained, device="cpu").diarize([audio], RATE)[0]]
