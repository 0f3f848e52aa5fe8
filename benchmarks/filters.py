"""How far the filters do their work with the scorers that ship: what they reject of pairs with a planted defect, and of pairs without one.

    python benchmarks/filters.py                                                           # about 40 pairs of each kind
    python benchmarks/filters.py --pairs 80 --seed 2 --manifest speech.csv                 # recordings: a manifest with path, transcript, speaker
    python benchmarks/filters.py --clap '{"engine": "laion_clap", "checkpoint": "x.pt"}'   # with a scorer of text and audio

Pairs are made as a build makes them, in this process: soundscapes (sound) and pieces (music) of the embedded soundfont, other pieces mixed,
whole or melody and drums alone, and taken apart by hpss (separated), and recordings or, where there are none, the synthesizer's sentences
(speech). Into each pair that the default rules keep, one defect at a time is planted:

- wrong label: the sound that the edit is about has another label of the run, in instruction, texts and recipe alike, as from a wrong
  manifest; of speech, other words stand in label, instruction and texts for those that the edit is about.
- edit not made: the target is the source. swapped: each is in the other's place.
- leak of -10 dB: of what `extract` or `remove` takes away so much is left in the target. leak in the separator: it is left there already, in
  stems that the plan lets be extracted; caught are those that, taken apart again and measured as ingest does, it no longer lets.
- half a word left: of a deletion of words, the first cut lies in the middle of its word.
- silent target. clipped target: 18 dB louder and clipped to 16 bits, of targets that this clips.

Wrong labels, half words and a separator's leaks come in with the clips; all else is done to finished audio. A defect counts as caught where
the stages' own scores, taken again, break a default rule. No scorer is told what was planted; the recogniser is given both texts, as in a
build. "unproven": nothing is caught, and no rule reads a score that could tell. `verify` is no filter: it makes pairs again of their clips,
and so sees what was done to finished audio and nothing of what came in before; its column counts pairs with which `check_pair` finds fault.
"""

import argparse
import copy
import json
import os
import pathlib
import tempfile
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import soundfile
from speech import EDITS as SPEECH_EDITS
from speech import RATE as SPEECH_RATE
from speech import ROUNDS, Corpus

from manifests.audio import probe
from manifests.chance import generator
from manifests.clip import Clip
from manifests.labels import Labels
from manifests.pair import Pair
from manifests.scene import Rendered
from manifests.storage import Storage
from pipeline import build, clips, pairs, plan
from pipeline.check_pair import check_pair
from pipeline.config import Config
from pipeline.lanes.recordings import LEAK_DB
from pipeline.rooms import make_rooms, read_rooms
from pipeline.sources import clip_parts, list_sources, windows
from pipeline.split import keys, with_splits
from stages.engines import registry, soundfont
from stages.engines.hpss import Hpss
from stages.filter import judge
from stages.ingest import ingest
from stages.instruct import instruct
from stages.score import score
from stages.score_clap import score_clap
from stages.separate import separate

RATE, SECONDS = 44_100, 10.0
KINDS = {"soundscape": "sound", "solo": "sound", "piece": "music", "separated": "separated", "remix": "separated", "utterance": "speech"}
LEAK, LOUDER = 10 ** (-10 / 20), 10 ** (18 / 20)
SENTENCES = pathlib.Path(__file__).parent.parent / "configs" / "speech.csv"
MATCH = {"clap_gain", "wer_source", "asr_choice"}  # scores of text and audio
TELLING = {  # scores that could tell a defect ("": none is planted)
    "": set(), "wrong label": MATCH, "edit not made": MATCH, "leak of -10 dB": {"clap_gain"}, "leak in the separator": {"leak_db"}, "swapped": MATCH,
    "half a word left": {"join_level_db", *MATCH}, "silent target": {"target_lufs", *MATCH}, "clipped target": {"target_peak_dbfs", *MATCH}}
FINISHED = ("edit not made", "leak of -10 dB", "swapped", "silent target", "clipped target")  # defects of finished audio


class Leaky(Hpss):
    """A separator that leaves of each stem 10 dB under it in the other."""

    def separate(self, recordings: list[np.ndarray], rate: int) -> list[dict[str, np.ndarray]]:
        share = np.float32(LEAK / (1 + LEAK))  # so that the stems still sum to the recording
        found = zip(recordings, super().separate(recordings, rate))
        return [{label: (1 - share) * stem + share * (audio - stem) for label, stem in stems.items()} for audio, stems in found]


Found = defaultdict[tuple[str, str], Counter]  # by defect ("": none) and kind: pairs, rejected, verify; "by SCORE": that break its rule; "with SCORE"


def take(found: Found, defect: str, pair: Pair, work: pairs.PairWork, known: dict[str, Clip], read: Callable[[Clip], bytes]) -> None:
    """Count a pair that was judged."""
    try:
        rooms = read_rooms(work.run, work.seed, work.rate) if pair.params["kind"] == "soundscape" else []
        faults = check_pair(pair.sample(), pair.source, pair.target, known, read, rooms)
    except ValueError as error:  # a score is no number: it could not be stored
        faults = [str(error)]
    tally = found[defect, KINDS[pair.params["kind"]]]
    tally.update({"pairs": 1, "rejected": int(not pair.kept), "verify": int(bool(faults))})
    tally.update({f"by {rule.score}" for rule in work.rules if rule.broken_by(pair)})
    tally.update({f"with {rule.score}" for rule in work.rules if getattr(pair, rule.score) is not None})


class Sounds:
    """Sounds, pieces and separated recordings, ingested in this process."""

    def __init__(self, options: argparse.Namespace, folder: pathlib.Path):
        each = -(-options.pairs // 4)  # of an edit and a kind
        _recordings(folder / "recordings", each, options.seed)
        sources = [{"kind": "soundfont", "pieces": each, "sounds": 4 * each + 40},
                   {"kind": "folder", "path": str(folder / "recordings"), "domain": "music", "separate": True}]
        edits = {"add": 3 * each, "remove": 3 * each, "extract": 3 * each, "replace": each, "transfer": each}
        self.config = Config.model_validate({
            "seed": options.seed, "audio": {"sample_rate": RATE, "seconds": SECONDS}, "sources": sources, "edits": edits, "missing": "skip",
            "scorers": {"clap": options.clap}, "split": {"train": 1.0, "val": 0.0, "test": 0.0}})
        self.run = Storage(str(folder / "run"))
        self.work = build.pair_work(self.config, self.run.root)
        make_rooms(self.run, options.seed, RATE)
        listing = list_sources(self.config)
        for file in listing.files.values():
            file.seconds = file.seconds or probe(file.uri)[0]
        self.windows = windows(listing, SECONDS)
        for state in clip_parts(self.windows):
            for step in build.clip_steps(self.config):
                state = step.function(state, build.clip_work(self.config, self.run.root))
        self.clips = with_splits(clips.gather(self.run, []), self.config.splits, options.seed)

    def plant(self, found: Found) -> None:
        """Judge pairs as they are, and again with each defect."""
        labels, clap = sorted({label for label in self.clips["label"] if label}), self.config.scorers.clap
        table = plan.plan(self.clips.assign(key=keys(self.clips["clip_id"])), self.config, "benchmrk", [], Labels.read())
        for part in build.pair_parts(plan.parts(table), self.clips):
            state = pairs.score_part(pairs.render_part(part, self.work), self.work)
            state = pairs.clap_part(state, self.work) if clap else state
            for item, (rendered, made) in zip(part.items, state["scenes"]):
                made = [pair for pair in made if pair.source is not None and pair.reason is None and not pair.noop]
                good = [pair for pair in made if not any(rule.broken_by(pair) for rule in self.work.rules)]
                bad = [("wrong label", *_relabelled(rendered, pair, labels)) for pair in good]
                bad += [(defect, rendered, spoilt) for pair in good for defect in FINISHED if (spoilt := _spoilt(defect, pair))]
                for _, scene, pair in bad:
                    score(scene, pair)
                if clap:
                    score_clap([(scene, [pair]) for _, scene, pair in bad], RATE, registry.load("scorer", json.loads(self.work.engines["scorer"])))
                for defect, pair in [*(("", pair) for pair in made), *((defect, pair) for defect, _, pair in bad)]:
                    judge(pair, self.work.rules)
                    take(found, defect, pair, self.work, item["clips"], lambda clip: pairs.read_clip(self.run, clip))
        self._plant_in_separator(found)

    def _plant_in_separator(self, found: Found) -> None:
        """Take the recordings apart again by a separator that leaks."""
        clean = self.clips[(self.clips["role"] == "stem") & (self.clips["leak_db"] <= LEAK_DB)]
        for window in [window for window in self.windows if window.uri in set(clean["uri"])]:
            (again,) = separate(ingest(window, RATE, 1, SECONDS, self.config.clips), RATE, Leaky(), self.config.clips)
            leaks = [clip.leak_db > LEAK_DB for clip, _ in again if clip.label in set(clean.loc[clean["uri"] == window.uri, "label"])]
            caught = dict.fromkeys(("rejected", "by leak_db"), sum(leaks))
            found["leak in the separator", "separated"].update({"pairs": len(leaks), **caught, "with leak_db": len(leaks)})


def plant_in_speech(options: argparse.Namespace, found: Found) -> None:
    """Judge speech pairs as they are, and again with each defect."""
    path = options.manifest or (str(SENTENCES) if all(map(os.path.exists, pd.read_csv(SENTENCES)["path"])) else None)
    source = {"kind": "manifest", "path": path, "domain": "speech"} if path else {"kind": "espeak", "utterances": 2 * options.pairs}
    config = {"seed": options.seed, "audio": {"sample_rate": SPEECH_RATE}, "sources": [source], "edits": dict.fromkeys(SPEECH_EDITS, 1)}
    corpus = Corpus(Config.model_validate(config))
    for clip, number in [(clip, number) for number in range(ROUNDS) for clip in corpus.clips.values() if number < clip.editable]:
        if found["", "speech"]["pairs"] >= options.pairs:
            return
        for pair, scene in corpus.pairs(clip, number):
            corpus.judge(pair, scene)
            bad = [("wrong label", _reworded(pair, corpus.other_words(pair)), scene)]
            bad += [(defect, spoilt, scene) for defect in FINISHED if (spoilt := _spoilt(defect, pair))]
            bad += [("half a word left", *made) for made in corpus.pairs(clip, number, halved=True) if pair.edit == "speech_delete"]
            for defect, spoilt, of in [("", pair, scene), *(bad if pair.kept else [])]:
                if defect:
                    corpus.judge(spoilt, of)
                take(found, defect, spoilt, corpus.work, corpus.clips, lambda clip: corpus.flac[clip.clip_id])


def _recordings(folder: pathlib.Path, count: int, seed: int) -> None:
    """Write pieces of music, mixed; of every second only melody and drums, which hpss tells apart better."""
    folder.mkdir()
    for n in range(count):
        tracks = [made for made in soundfont.play(soundfont.piece(seed + 1, n, 1.6 * SECONDS, source=0), RATE, 1) if made[0].variant == 0]
        mixed = sum(audio for clip, audio in tracks if n % 2 == 0 or clip.part in ("melody", "drums"))
        soundfile.write(folder / f"{n}.wav", 0.5 * mixed.T / np.abs(mixed).max(), RATE)


def _relabelled(rendered: Rendered, pair: Pair, labels: list[str]) -> tuple[Rendered, Pair]:
    """A pair, and its scene, in which the sound that the edit is about has a label that no sound there has."""
    scene, bad = copy.deepcopy(rendered.scene), replace(pair, params=copy.deepcopy(pair.params))
    wrong = str(generator("wrong label", pair.pair_id).choice(sorted({*labels} - {stem.label for stem in scene.stems})))
    for stem in bad.params["stems"]:
        stem["label"] = wrong if stem["label"] == pair.label else stem["label"]
    for stem in pair.edited:
        if scene.stems[stem].label == pair.label:
            scene.stems[stem].label = wrong
    instruct(bad, scene, Labels.read())
    return replace(rendered, scene=scene), bad


def _reworded(pair: Pair, words: str) -> Pair:
    """A speech pair with other words in the place of those that it is about, in label, instruction and texts."""
    name, other = ("target_text", "source_text") if pair.edit == "speech_insert" else ("source_text", "target_text")
    said = getattr(pair, name).split()
    first = len(os.path.commonprefix([said, getattr(pair, other).split()]))
    said[first : first + len(pair.label.split())] = words.split()
    told = [wording.replace(f"'{pair.label}'", f"'{words}'") for wording in pair.instructions]
    return replace(pair, reason=None, label=words, instruction=told[0], instructions=told, **{name: " ".join(said)})


def _spoilt(defect: str, pair: Pair) -> Pair | None:
    """A pair with a defect in its finished audio; None where it cannot have it."""
    source, target = pair.source, pair.target
    if defect == "edit not made":
        target = source
    elif defect == "swapped":
        source, target = target, source
    elif defect == "silent target":
        target = np.zeros_like(target)
    elif defect == "clipped target":
        if np.abs(target.astype(float)).max() * LOUDER <= 32_768:
            return None
        target = np.rint(np.clip(LOUDER * target.astype(float), -32_768, 32_767)).astype(np.int16)
    elif pair.edit in ("extract", "remove"):
        target = np.rint(target + LEAK * (source.astype(float) - target)).astype(np.int16)
    else:
        return None
    return replace(pair, reason=None, source=source, target=target)


def show(found: Found, clap: bool) -> None:
    """Print what is lost of pairs as they are, and what is caught of defects."""
    print("| defect | kind | planted | caught | by which rule (score) | by CLAP | verify finds |\n|---|---|---|---|---|---|---|")
    for defect, kind in [(defect, kind) for defect in TELLING for kind in dict.fromkeys(KINDS.values()) if found[defect, kind]["pairs"]]:
        tally, unmade = found[defect, kind], "separator" in defect
        by_rule = ", ".join(f"{name[3:]} {count}" for name, count in tally.most_common() if name.startswith("by ")) or "-"
        by_clap = "-" if kind == "speech" or unmade else tally["by clap_gain"] + tally["by clap_background"] if clap else "not run"
        caught = tally["rejected"] if not defect or tally["rejected"] or any(tally[f"with {name}"] for name in TELLING[defect]) else "unproven"
        print(f"| {defect or 'none: lost'} | {kind} | {tally['pairs']} | {caught} | {by_rule} | {by_clap} | {'-' if unmade else tally['verify']} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=40, help="pairs of each kind, about (default: 40)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--clap", type=json.loads, help="a scorer of text and audio, as a configuration has it, JSON (default: none)")
    parser.add_argument("--manifest", help="recordings of speech with a transcript (default: configs/speech.csv if its files are there, else the synthesizer)")
    options, found = parser.parse_args(), Found(Counter)
    warnings.simplefilter("ignore", RuntimeWarning)  # of joins that lie past the end of a side, where sides were swapped
    with tempfile.TemporaryDirectory() as folder:
        Sounds(options, pathlib.Path(folder)).plant(found)
    plant_in_speech(options, found)
    show(found, bool(options.clap))
    print(json.dumps({**vars(options), "found": [{"defect": defect, "kind": kind, **tally} for (defect, kind), tally in found.items() if tally]}))


if __name__ == "__main__":
    main()
