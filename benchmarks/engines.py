"""How fast the engines are, how much of their time is not their networks' own, and what passing batches through Ray adds.

    python benchmarks/engines.py                                              # networks of published sizes and random weights
    python benchmarks/engines.py --only demucs hpss --batches 1 8             # some engines; without a GPU, 32 songs need 40 GB
    python benchmarks/engines.py --engine demucs='{"model": "htdemucs_ft"}'   # a real checkpoint: options as in a configuration
    python benchmarks/engines.py --tiny --seconds 3 --conversation 4          # networks of the tests: that it runs, not how fast

As in a build, the registry loads each engine in an actor of `pipeline.run.Chain`, to which batches go and from which answers come. "again"
is what the registry takes in the actor's second call, which must find the same object. Sounds are noise and tones, stereo; speech is the
synthesizer's. All is at 44.1 kHz, so that resampling for the models counts. A batch's first item is done once before.

- "×" and a batch: seconds of audio a second of an engine's call in the actor. CPU s, GPU s: what an hour of audio takes at the largest
  batch: CPU seconds of the actor, over all its threads, and seconds for which it has the GPU.
- overhead: what of that call is not spent in the networks (resampling, copies, framing, search, clustering), as a share of what is: torch modules
  called from outside any other, CTranslate2's Whisper, PocketSphinx's decoder; a GPU is waited for before and after. hpss has no such part.
- Ray: the driver's wait, from giving a batch to having its answers, less the time in the actor's function; as the same share.

Made networks. demucs: htdemucs with 41,984,456 weights, as published: t_layers 5, bottom_channels 512, dconv_mode 3, segments of 7.8 s (the
package's defaults make 26.9 million). laion_clap: HTSAT-tiny, RoBERTa-base, a tokenizer of few pieces; four texts of 28 letters a sound. pyannote:
the segmentation that whisperx carries, which is trained, WeSpeaker's ResNet34, VBx; it hears each second in up to ten windows, so that recordings
last `--conversation` seconds. whisperx: wav2vec2-base, and Whisper by `--whisper`; large-v3 needs 20 GB to be made. Random weights would not stop
writing where trained ones do: it must write 30 tokens for 10 s, about what speech has, with a beam of 5 to the end. A trained one may end early.
"""

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import ray

from manifests.chance import generator
from pipeline.config import Resources
from pipeline.run import Chain, Step, connect
from stages.engines import laion_clap, registry
from stages.engines.espeak import VOICES, Espeak
from stages.engines.protocols import Speech
from stages.scenes.sentences import sentence

RATE, GOAL = 44_100, 10  # Hz; %, of overhead and Ray together
SIZES = {"tiny": (384, 4), "base": (512, 6), "small": (768, 12), "medium": (1024, 24), "large-v3": (1280, 32)}  # of Whisper: width, layers
ROWS = [  # engine, kind, ways to call it
    ("demucs", "separator", ["separate"]), ("laion_clap", "scorer", ["score, texts known", "score, texts new"]),
    ("whisperx", "transcriber", ["transcribe, text given", "transcribe", "hear"]), ("pyannote", "diarizer", ["diarize"]), ("hpss", "separator", ["separate"]),
    ("pocketsphinx", "transcriber", ["transcribe, text given", "transcribe"]), ("pocketsphinx", "recognizer", ["hear"])]
BARE = ("hpss", "pocketsphinx")  # of options and networks


class Clock(contextlib.ContextDecorator):
    """Adds up seconds from an outermost entry to its leaving; the GPU is waited for."""

    seconds, depth, began = 0.0, 0, 0.0

    def __enter__(self, *_):
        self.began = self.began if self.depth else self.now()
        self.depth += 1

    def __exit__(self, *_):
        self.depth -= 1
        self.seconds += 0 if self.depth else self.now() - self.began

    def now(self):
        if "torch" in sys.modules and sys.modules["torch"].cuda.is_initialized():
            sys.modules["torch"].cuda.synchronize()
        return time.perf_counter()


@contextlib.contextmanager
def timed(engine, clock):
    """Let a clock run in networks and decoders."""
    holders = [(one, "_decoder") for one in vars(engine).values() if type(one).__name__ == "_Decoder"]
    with contextlib.ExitStack() as after:
        for holder, name in holders + ([(engine._whisper, "model")] if hasattr(engine, "_whisper") else []):
            after.callback(setattr, holder, name, inner := getattr(holder, name))
            parts = {part: getattr(inner, part) for part in dir(inner) if part[0] != "_"}
            setattr(holder, name, SimpleNamespace(**{part: clock(one) if callable(one) else one for part, one in parts.items()}))
        if "torch" in sys.modules:
            module = sys.modules["torch"].nn.modules.module
            after.callback(module.register_module_forward_pre_hook(clock.__enter__).remove)
            after.callback(module.register_module_forward_hook(clock.__exit__, always_call=True).remove)
        yield


def answers(engine, way: str, items: tuple[Speech, ...]) -> list:
    method, audio = getattr(engine, way.partition(",")[0]), [one.audio for one in items]
    if way in ("transcribe", "transcribe, text given", "hear"):
        return method([Speech(one.audio, () if way == "transcribe" else one.texts, "en") for one in items], RATE)
    return method(audio, RATE, [list(one.texts) for one in items]) if "score" in way else method(audio, RATE)


def step(call: SimpleNamespace, work: dict) -> dict:
    """In the actor: load, and if there are items, call the engine."""
    began = time.perf_counter()
    engine = registry.load(work["kind"], work["spec"])
    found, clock = {"load": time.perf_counter() - began, "object": (os.getpid(), id(engine))}, Clock()
    if call.items:
        if call.tokens:  # that Whisper must write: to that it gives half its length
            engine._whisper.max_length = 2 * call.tokens
        answers(engine, call.way, call.items[:1])
        if call.way == "score, texts known":
            engine.score([call.items[0].audio], RATE, [[text for one in call.items for text in one.texts]])
        elif call.way == "score, texts new":
            engine.texts.clear()
        with timed(engine, clock):
            cpu, start = time.process_time(), clock.now()
            found |= {"answers": answers(engine, call.way, call.items), "seconds": clock.now() - start, "cpu": time.process_time() - cpu}
    return found | {"own": clock.seconds, "inside": time.perf_counter() - began}


def sounds(count: int, seconds: float):
    chance, at = np.random.default_rng(1), np.arange(round(seconds * RATE)) / RATE
    for n in range(count):
        audio = 0.05 * chance.standard_normal((2, len(at))) + 0.1 * sum(np.sin(2 * np.pi * 110 * 2 ** ((n + third) / 12) * at) for third in (0, 4, 7))
        yield Speech(audio.astype(np.float32), tuple(f"yellow apples near bridge {n}{letter}" for letter in "abcd"))


def spoken(count: int, seconds: float, voices: int):
    """Whole sentences, then silence; with what is said, and something like it."""
    chance, synthesizer, whole = generator("engines"), Espeak(), round(seconds * RATE)
    for n in range(count):
        audio, said = np.zeros((1, 0), np.float32), []
        for words in iter(lambda: sentence(chance), None):
            more = synthesizer.speak(words, VOICES[(n + len(said) % voices) % len(VOICES)], RATE)[0]
            if said and audio.shape[1] + more.shape[1] > whole:
                break
            audio, said = np.concatenate([audio, more], axis=1), [*said, words]
        audio = np.pad(audio[:, :whole], ((0, 0), (0, max(0, whole - audio.shape[1]))))
        yield Speech(audio, (" ".join(said), " ".join([*said[:-1], "nobody answered"])))


def made(name: str, folder: Path, size: str) -> dict:
    """The options of an engine whose networks are made; size: of Whisper, or "tests" for tiny ones."""
    sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
    import checkpoints as tests
    import torch
    import whisperx
    from demucs.htdemucs import HTDemucs
    from pyannote.audio.core.task import Problem, Resolution, Specifications
    from pyannote.audio.models.embedding import WeSpeakerResNet34
    from transformers import RobertaConfig, Wav2Vec2Config, Wav2Vec2ForCTC

    folder.mkdir()
    tiny, stems = size == "tests", ["drums", "bass", "other", "vocals"]
    if name == "demucs":
        network = tests.make_demucs(1, stems) if tiny else HTDemucs(stems, bottom_channels=512, dconv_mode=3, t_layers=5, segment=Fraction(39, 5))
        tests.save_demucs(folder, "made", network)
        return {"model": "made", "repo": str(folder)}
    if name == "laion_clap":
        options = tests.make_clap(folder / name)
        if not tiny:
            RobertaConfig(vocab_size=50_265, max_position_embeddings=514, type_vocab_size=1).save_pretrained(folder / name)
            config = json.loads((laion_clap._networks() / "model_configs" / "HTSAT-tiny.json").read_text())
            torch.save(laion_clap._built(config, laion_clap._text_model(options["text_model"])[0], False).state_dict(), options["checkpoint"])
        return options
    if name == "whisperx":
        aligner = tests.make_aligner(folder / "aligner", "abcdefghijklmnopqrstuvwxyz'")
        if not tiny:
            Wav2Vec2ForCTC(Wav2Vec2Config(vocab_size=32)).save_pretrained(aligner)
        return {"model": tests.make_whisper(folder / name) if tiny else whisper(folder, *SIZES[size]), "align": {"en": aligner}}
    tests.make_diarization_networks(folder)
    tests.configure_diarization(folder / "config.yaml")
    if not tiny:
        speaker, carried = WeSpeakerResNet34(), str(Path(whisperx.__path__[0], "assets", "pytorch_model.bin"))
        speaker.specifications = Specifications(Problem.REPRESENTATION, Resolution.CHUNK, duration=5.0)
        tests._save(speaker, folder / "speaker")
        np.savez(folder / "plda" / "xvec_transform.npz", mean1=np.zeros(256), mean2=np.zeros(128), lda=np.eye(256, 128))
        np.savez(folder / "plda" / "plda.npz", mu=np.zeros(128), tr=np.eye(128), psi=np.arange(128.0, 0, -1))
        tests.configure_diarization(folder / "config.yaml", segmentation=carried, embedding="$model/speaker", embedding_exclude_overlap=True,
                                    onset={"threshold": 0.5})
    return {"pipeline": str(folder)}


def whisper(folder: Path, width: int, layers: int) -> str:
    """One that never ends by itself, in CTranslate2's format. Of its pieces, four letters each, three in four begin a word."""
    from ctranslate2.converters import TransformersConverter
    from transformers import GenerationConfig, WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration, WhisperTokenizerFast

    end, large, letters, heads, files = "<|endoftext|>", width > 1024, "etaoinshrdlucmfw", width // 64, [folder / "vocab.json", folder / "merges.txt"]
    pieces = [*"abcdefghijklmnopqrstuvwxyz", "Ġ", ""]  # by the last CTranslate2 tells that it is multilingual
    pieces += [("Ġ" if n % 4 else "") + "".join(letters[n >> by & 15] for by in (0, 4, 8, 12)) for n in range(50_257 - len(pieces))]
    files[0].write_text(json.dumps({piece: n for n, piece in enumerate(pieces)}))
    files[1].write_text("#version: 0.2\n")
    special = [f"<|{one}|>" for one in "startoftranscript en translate transcribe startoflm startofprev nospeech notimestamps".split()]
    tokenizer = WhisperTokenizerFast(*map(str, files), unk_token=end, bos_token=end, eos_token=end, additional_special_tokens=special)
    last, words, bands = len(pieces), 51_865 + large, 128 if large else 80
    ends = {"bos_token_id": last, "eos_token_id": last, "pad_token_id": last, "decoder_start_token_id": last + 1}
    model = WhisperForConditionalGeneration(WhisperConfig(
        vocab_size=words, d_model=width, num_mel_bins=bands, encoder_layers=layers, decoder_layers=layers, encoder_attention_heads=heads,
        decoder_attention_heads=heads, encoder_ffn_dim=4 * width, decoder_ffn_dim=4 * width, **ends))
    model.generation_config = GenerationConfig(lang_to_id={"<|en|>": last + 2}, suppress_tokens=[*range(last, words)], begin_suppress_tokens=[last], **ends)
    for part in (model, tokenizer, WhisperFeatureExtractor(feature_size=bands)):
        part.save_pretrained(folder / "transformers")
    return TransformersConverter(str(folder / "transformers"), copy_files=["tokenizer.json", "preprocessor_config.json"]).convert(str(folder / "made"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=sorted({name for name, *_ in ROWS}), default=[name for name, *_ in ROWS])
    parser.add_argument("--engine", action="append", default=[], metavar="NAME=JSON", help="options of an engine with a real checkpoint; repeatable")
    parser.add_argument("--whisper", choices=SIZES, default="small")
    parser.add_argument("--tiny", dest="whisper", action="store_const", const="tests", help="networks of the tests")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32])
    for flag, value, told in (("--rounds", 3, "calls with each batch, of which medians are told"), ("--cpus", os.cpu_count(), "threads of an actor"),
                              ("--seconds", 10.0, "of an item"), ("--conversation", 60.0, "seconds of pyannote's items"), ("--device", "auto", "of torch")):
        parser.add_argument(flag, type=type(value), default=value, help=f"{told} (default: {value})")
    options = parser.parse_args()
    given = {name: json.loads(spec) for name, _, spec in (one.partition("=") for one in options.engine)}
    connect(None)
    most, rows, on_gpu = max(options.batches), [], options.device != "cpu" and ray.cluster_resources().get("GPU", 0) > 0
    with tempfile.TemporaryDirectory() as folder:
        for name, kind, ways in (row for row in ROWS if row[0] in options.only):
            gpu, seconds, spec = on_gpu and name not in BARE, options.conversation if name == "pyannote" else options.seconds, {}
            if name not in BARE:
                spec = {"batch": most, "device": options.device} | (given.get(name) or made(name, Path(folder, name), options.whisper))
            chain = Chain([Step(step, Resources(cpus=options.cpus, gpus=int(gpu), actors=1))], {"kind": kind, "spec": {"engine": name} | spec})
            first, again = (ray.get(chain.start(SimpleNamespace(items=(), last=False))) for _ in range(2))
            items = tuple(sounds(most, seconds) if kind in ("separator", "scorer") else spoken(most, seconds, 2 if name == "pyannote" else 1))
            tokens = round(3 * seconds) if name == "whisperx" and name not in given and options.whisper != "tests" else 0
            for way in ways:
                row = {"engine": name, "way": way, "load s": first["load"], "again ms": 1000 * again["load"], "same object": first["object"] == again["object"]}
                for batch in sorted(options.batches):
                    found = []
                    for _ in range(options.rounds):
                        began = time.perf_counter()
                        one = ray.get(chain.start(SimpleNamespace(way=way, items=items[:batch], tokens=tokens, last=False)))
                        found.append([one["seconds"], one["own"], one["cpu"], time.perf_counter() - began - one["inside"]])
                    whole, own, cpu, sent = np.median(found, axis=0).tolist()
                    row[f"× {batch}"] = batch * seconds / whole
                row |= {"overhead %": 100 * (whole / own - 1) if own else None, "Ray %": 100 * sent / (own or whole)}
                row |= {"CPU s": 3600 * cpu / (most * seconds), "GPU s": 3600 * whole / (most * seconds) if gpu else None}
                rows.append(row | {f"under {GOAL} %": (row["overhead %"] or 0) + row["Ray %"] < GOAL})
                print(json.dumps(rows[-1], ensure_ascii=False), file=sys.stderr)
            del chain, one
    print(f"Items of {options.seconds:g} s (pyannote {options.conversation:g} s); overhead, Ray, CPU and GPU seconds an hour of audio at batch {most}; "
          f"Whisper: {options.whisper}; real checkpoints: {', '.join(given) or 'none'}.\n\n| {' | '.join(rows[0])} |\n|{' --- |' * len(rows[0])}")
    for row in rows:
        print("|", " | ".join("–" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value) for value in row.values()), "|")
    print(f"\nOverhead and Ray together under {GOAL} % of the networks' own time: "
          f"{sum(row[f'under {GOAL} %'] for row in rows)} of {len(rows)}\n{json.dumps(rows, ensure_ascii=False)}")


if __name__ == "__main__":
    main()
