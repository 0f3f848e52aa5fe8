"""Engines are found by their name or by a user's package.module:Class, take their options, and are loaded once a process."""

import pytest

from manifests.errors import RequestError
from stages.engines.espeak import Espeak
from stages.engines.hpss import Hpss
from stages.engines.pocketsphinx import Aligner, Chooser
from stages.engines.protocols import Speech
from stages.engines.registry import load

OURS = '''
loaded = []


class Listener:
    """Hears what it was told to."""

    def __init__(self, *, word="yes", times=1):
        if times < 1:
            raise ValueError("times must be at least 1")
        self.word, self.times = word, times
        loaded.append(self)

    def hear(self, speech, rate):
        return [" ".join([self.word] * self.times) for _ in speech]
'''


@pytest.fixture
def ours(tmp_path, monkeypatch):
    """A package of a user's own, with an engine, and a module that needs what is not installed; gives the package's name."""
    name = f"ours_{tmp_path.name}"
    package = tmp_path / name
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "listening.py").write_text(OURS)
    (package / "lacking.py").write_text("import a_package_that_nobody_has\n")
    monkeypatch.syspath_prepend(tmp_path)
    return name


@pytest.mark.parametrize(("kind", "name", "made"), [
    ("separator", "hpss", Hpss), ("transcriber", "pocketsphinx", Aligner), ("recognizer", "pocketsphinx", Chooser), ("synthesizer", "espeak", Espeak),
])
def test_embedded_engines_by_name(kind, name, made):
    assert type(load(kind, {"engine": name})) is made


def test_a_users_class_takes_its_options(ours):
    engine = load("recognizer", {"engine": f"{ours}.listening:Listener", "word": "no", "times": 2})
    assert engine.hear([Speech(None)], 16_000) == ["no no"]
    assert load("recognizer", {"engine": f"{ours}.listening:Listener"}).hear([Speech(None)], 16_000) == ["yes"]


def test_an_engine_is_loaded_once_for_each_of_its_options(ours):
    spec = {"engine": f"{ours}.listening:Listener", "word": "no", "times": 2}
    engine = load("recognizer", spec)
    assert load("recognizer", dict(reversed(spec.items()))) is engine and spec["engine"] == f"{ours}.listening:Listener"
    assert load("recognizer", {**spec, "times": 3}) is not engine
    assert load("recognizer", spec) is engine
    assert len(__import__(f"{ours}.listening", fromlist=["loaded"]).loaded) == 2


@pytest.mark.parametrize(("kind", "name", "known"), [
    ("separator", "hpsss", "hpss"), ("transcriber", "whisper", "pocketsphinx"), ("recognizer", "", "pocketsphinx"), ("synthesizer", "festival", "espeak"),
    ("separator", "pocketsphinx", "hpss"),
])
def test_an_unknown_engine_is_told_with_the_known_ones(kind, name, known):
    with pytest.raises(RequestError) as told:
        load(kind, {"engine": name})
    line = str(told.value)
    assert line.startswith(f"{kind}: unknown engine '{name}'") and known in line and "package.module:Class" in line and "\n" not in line


@pytest.mark.parametrize(("engine", "told"), [
    ("nowhere.at.all:Engine", "nowhere"), ("{ours}.listening:Speaker", "Speaker"), ("{ours}.lacking:Engine", "a_package_that_nobody_has"),
])
def test_what_cannot_be_loaded_is_named_with_what_it_lacks(ours, engine, told):
    with pytest.raises(RequestError, match=f"^recognizer: engine '.*' cannot be loaded: .*{told}"):
        load("recognizer", {"engine": engine.format(ours=ours)})


@pytest.mark.parametrize(("kind", "spec", "told"), [
    ("separator", {"engine": "hpss", "windw": 512}, "windw"), ("separator", {"engine": "hpss", "width": 4}, "width is 4"),
    ("transcriber", {"engine": "pocketsphinx", "language": "de"}, ""),
    ("recognizer", {"engine": "{ours}.listening:Listener", "times": 0}, "times must be at least 1"),
    ("recognizer", {"engine": "{ours}.listening:Listener", "wrod": "no"}, "wrod"), ("separator", {"engine": "hpss", "window": "wide"}, ""),
])
def test_options_that_an_engine_does_not_take_are_told(ours, kind, spec, told):
    with pytest.raises(RequestError, match=f"^{kind}: engine '.*' does not take these options: .*{told}"):
        load(kind, {**spec, "engine": spec["engine"].format(ours=ours)})


@pytest.mark.parametrize("engine", [":Engine", "module:", ".module:Engine"])
def test_a_path_that_names_nothing_is_a_wrong_request(engine):
    with pytest.raises(RequestError, match="^recognizer: "):
        load("recognizer", {"engine": engine})
