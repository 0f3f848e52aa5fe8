"""How well the embedded engines judge speech edits, and how fast they are.

    python benchmarks/speech.py                              # sentences of the built-in synthesizer
    python benchmarks/speech.py --manifest speech.csv        # recordings: a manifest with path, transcript, speaker

Pairs are made as a build makes them. Known pairs: how often what is heard on each side is that side's text. Planted
defects, each of which the scores should tell: the edit was not made, other words stand there than the text says, a word
was cut in half. A defect counts as caught where the default rules reject the pair.
"""

import argparse
import time
from collections import Counter
from dataclasses import replace

from manifests.audio import probe
from manifests.chance import generator
from manifests.clip import Clip
from manifests.pair import Pair
from manifests.scene import Scene
from manifests.speech import Cut, from_json, stretches, to_json, words_of
from pipeline.build import pair_work
from pipeline.config import Config
from pipeline.pairs import PairWork, render_scene
from pipeline.sources import list_sources, windows
from stages.engines import registry
from stages.filter import judge
from stages.hear import hear
from stages.ingest import Gates, ingest, store
from stages.scenes.utterance import drawn
from stages.score_speech import score_speech
from stages.transcribe import transcribe

RATE = 16_000
ROUNDS = 3  # pairs of each edit of an utterance
EDITS = ("speech_delete", "speech_insert", "speech_substitute")


class Corpus:
    """Utterances, ingested and transcribed in this process, and pairs of them."""

    def __init__(self, config: Config):
        self.work, self.clips, self.flac = pair_work(config, ""), {}, {}
        self.recognizer = registry.load("recognizer", {"engine": "pocketsphinx"})
        self.seconds = Counter()
        listing = list_sources(config)
        for file in listing.files.values():
            file.seconds = file.seconds or probe(file.uri)[0]
        for window in windows(listing, config.audio.seconds):
            self._take(window, config.clips)

    def _take(self, window: Clip, gates: Gates) -> None:
        ((clip, audio),) = ingest(window, RATE, 1, 10.0, gates, synthesizer=registry.load("synthesizer", {"engine": "espeak"}))
        if clip.reason is None:
            aligner = registry.load("transcriber", {"engine": "pocketsphinx"})
            started = time.perf_counter()
            (aligned,) = transcribe([(replace(clip, words=""), audio)], RATE, aligner, "pocketsphinx", gates)
            self.seconds.update({"aligned": time.perf_counter() - started, "speech": audio.shape[1] / RATE})
            clip, audio = transcribe([(clip, audio)], RATE, aligner, "pocketsphinx", gates)[0] if clip.words else aligned
        if clip.reason is None:
            clip, flac = store(clip, audio, RATE)
            self.clips[clip.clip_id], self.flac[clip.clip_id] = clip, flac

    def pairs(self, clip: Clip, number: int, halved: bool = False) -> list[tuple[Pair, Scene]]:
        """One pair of each edit of a clip, with its scene; halved: the first cut lies in the middle of a word that is to go."""
        donors = sorted(c.clip_id for c in self.clips.values() if c.speaker == clip.speaker and c.clip_id != clip.clip_id and c.editable)
        asked = [("speech_delete", ""), ("speech_insert", "")] + ([("speech_substitute", donors[number % len(donors)])] if donors else [])
        asked = asked[:1] if halved else asked
        told = _halved(clip, number, self.work) if halved else clip
        if told is None:
            return []
        known = {clip.clip_id: told, **{donor: self.clips[donor] for _, donor in asked if donor}}
        item = {"scene_id": clip.clip_id, "kind": "utterance", "split": "train", "clip_ids": [clip.clip_id], "clips": known,
                "pairs": [(f"{clip.clip_id}-{edit}-{number}", edit, number, donor, False) for edit, donor in asked]}
        pairs = [Pair(name, clip.clip_id, edit, "real", clip.tier, "speech", "en", "train", 0) for name, edit, *_ in item["pairs"]]
        scene = render_scene(item, pairs, self.work, lambda c: self.flac[c.clip_id]).scene
        return [(pair, scene) for pair in pairs if pair.reason is None]

    def other_words(self, pair: Pair) -> str:
        """As many words as a pair is about, of another recording, that are said on neither of its sides."""
        count, chance = len(pair.label.split()), generator("other words", pair.pair_id)
        for clip in chance.permutation(sorted(self.clips)):
            words = self.clips[clip].transcript.split()
            for at in chance.permutation(max(0, len(words) - count + 1)):
                if not set(words_of(" ".join(words[at : at + count]))) & set((pair.source_text + " " + pair.target_text).split()):
                    return " ".join(words_of(" ".join(words[at : at + count])))
        return " ".join(["umbrella"] * count)

    def judge(self, pair: Pair, scene: Scene) -> None:
        started = time.perf_counter()
        score_speech(pair, scene, self.clips)
        hear([pair], self.recognizer)
        self.seconds.update({"heard": time.perf_counter() - started, "sides": (pair.source.shape[1] + pair.target.shape[1]) / RATE})
        judge(pair, list(self.work.rules))


def _halved(clip: Clip, number: int, work: PairWork) -> Clip | None:
    """The clip with the first cut of a deletion moved into the middle of its word; None where that would leave too little to take out."""
    words, cuts = from_json(clip.words)
    possible = stretches(words, cuts, work.join_db)
    first, _ = drawn("speech_delete", number, words, possible, generator(work.seed, "stretches", clip.clip_id, "speech_delete"))
    cuts[first] = Cut((words[first].start + words[first].end) / 2, cuts[first].level_db)
    return replace(clip, words=to_json(words, cuts)) if stretches(words, cuts, work.join_db) == possible else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--manifest", help="recordings with a transcript (default: sentences of the synthesizer)")
    parser.add_argument("--utterances", type=int, default=60, help="sentences to speak (default: 60)")
    options = parser.parse_args()
    source = {"kind": "manifest", "path": options.manifest, "domain": "speech"} if options.manifest else {"kind": "espeak", "utterances": options.utterances}
    corpus = Corpus(Config.model_validate({"seed": 1, "audio": {"sample_rate": RATE}, "sources": [source], "edits": dict.fromkeys(EDITS, 1)}))
    known, sides, kept, caught, heard, planted = Counter(), Counter(), Counter(), Counter(), Counter(), Counter()
    reasons = Counter()
    for clip, number in [(found, n) for found in corpus.clips.values() for n in range(min(ROUNDS, found.editable))]:
        for pair, scene in corpus.pairs(clip, number):
            corpus.judge(pair, scene)
            known[pair.edit] += 1
            sides[pair.edit] += (pair.wer_source == 0) + (pair.asr_choice == "target" and pair.wer_target == 0)
            kept[pair.edit] += pair.kept
            reasons[(pair.reason or "kept").split(" ")[0]] += 1
        defects = [("edit not made", *made) for made in corpus.pairs(clip, number)]
        defects += [("other words", *made) for made in corpus.pairs(clip, number) if made[0].edit == "speech_substitute"]
        defects += [("half a word left", *made) for made in corpus.pairs(clip, number, halved=True)]
        for defect, pair, scene in defects:
            if defect == "edit not made":
                pair.target = pair.source
            elif defect == "other words":
                pair.source_text = pair.source_text.replace(pair.label, corpus.other_words(pair))
            planted[defect] += 1
            corpus.judge(pair, scene)
            caught[defect] += not pair.kept
            heard[defect] += pair.asr_choice != "target" or (pair.wer_source or 0) > 0
    seconds, own = corpus.seconds, "the side's own text heard"
    print(f"{len(corpus.clips)} utterances, {sum(clip.editable for clip in corpus.clips.values())} stretches of words that can be cut out")
    print(f"alignment: {seconds['speech'] / seconds['aligned']:.0f} times real time; hearing both sides: {seconds['sides'] / seconds['heard']:.0f} times")
    for edit in EDITS:
        print(f"{edit:18} known pairs {known[edit]:4}: {own} {sides[edit]:4} of {2 * known[edit]:4} times; kept by the default rules {kept[edit]}")
    for defect in planted:
        print(f"{defect:18} planted     {planted[defect]:4}: caught {caught[defect]}, by the recogniser alone {heard[defect]}")
    print("of known pairs:", ", ".join(f"{count} {reason}" for reason, count in reasons.most_common()))


if __name__ == "__main__":
    main()
