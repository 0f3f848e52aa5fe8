"""The model stands by itself: it needs nothing of the pipeline, and diffusers for one codec alone."""

import subprocess
import sys

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

REFUSE = """if True:
    import importlib, pkgutil, sys

    class Refuse:
        def find_spec(self, name, path=None, target=None):
            if name.split(".")[0] in ("ray", "diffusers", "pipeline", "stages"):
                raise ModuleNotFoundError(f"No module named '{name}'", name=name)

    sys.meta_path.insert(0, Refuse())
"""


def run(code: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-W", "error::FutureWarning", "-c", REFUSE + code, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_all_of_it_is_imported_and_edits_without_ray_diffusers_pipeline_and_stages(path):
    said = run("""
    import model, numpy, torch

    names = [module.name for module in pkgutil.walk_packages(model.__path__, "model.")]
    for name in names:
        importlib.import_module(name)
    torch.set_num_threads(1)
    editor = sys.modules["model.editor"].Editor.from_pretrained(sys.argv[1], device="cpu")
    made = editor.edit(numpy.full((2, 9_000), 0.1, numpy.float32), "Add rain.", rate=22_050, steps=1)
    print(made.audio.shape, numpy.isfinite(made.audio).all(), *names)""", path)
    assert said.startswith("(2, 9000) True ")
    assert {"model.editor", "model.official", "model.codec", "model.parity", "model.tiny_mllm"} <= set(said.split())


def test_the_codec_that_needs_diffusers_says_so():
    said = run("""
    from manifests.errors import RequestError
    from model.codec import untrained
    from model.sizes import Sizes

    try:
        untrained(Sizes.published().codec, 44_100, 2)
    except RequestError as error:
        print(error)""")
    assert said == "the codec oobleck needs diffusers: pip install audioedit[model]\n"
