"""Hear: what a recogniser hears on the sides of speech pairs, held against what should be said there."""

import contextlib

import jiwer
import numpy as np

from manifests.errors import Rejected
from manifests.pair import Pair
from manifests.speech import words_of
from stages.batches import Watch, in_batches
from stages.engines.protocols import Recognizer, Speech


def hear(pairs: list[Pair], recognizer: Recognizer, watch: Watch = contextlib.nullcontext) -> None:
    """Fill in what is heard on both sides of speech pairs.

    `wer_source` and `wer_target` are the word error rates of what is heard on a side against its text; `asr_choice` is the text
    that what is heard on the target is nearer to ("neither" where it is as far from both). Text and what is heard are compared in
    one form, that of `words_of`: lower case, no punctuation, hyphens part words; a recogniser is asked for words, not digits. Of scripts
    that are written without spaces these are character error rates, since there each character is a word.

    A pair with a side that the engine cannot hear keeps its scores null.
    """
    sides = [(pair, side) for pair in pairs for side in (pair.source, pair.target)]

    def listen(some: list[tuple[Pair, np.ndarray]]) -> list[str | Rejected]:
        speech = [Speech(side.astype(np.float32) / 32768, (pair.source_text, pair.target_text), pair.language) for pair, side in some]
        return recognizer.hear(speech, some[0][0].sample_rate)

    heard = iter(in_batches(recognizer, sides, listen, watch))
    for pair in pairs:
        source, target = next(heard), next(heard)
        if isinstance(source, Rejected) or isinstance(target, Rejected):
            continue
        texts = [pair.source_text, pair.target_text]
        pair.wer_source, pair.wer_target = error_rate(texts[0], source), error_rate(texts[1], target)
        far = [round(error_rate(text, target) * len(words_of(text))) for text in texts]  # words
        pair.asr_choice = "neither" if far[0] == far[1] else "source" if far[0] < far[1] else "target"


def error_rate(said: str, heard: str) -> float:
    """Word error rate of what is heard, both in the form of `words_of`; 0 for the same words. In scripts without spaces, character error rate.

    >>> error_rate("He was not ill.", "he was ill"), error_rate("no", "no"), error_rate("他没有病。", "他有病")
    (0.25, 0.0, 0.25)
    """
    return float(jiwer.wer(" ".join(words_of(said)), " ".join(word if word.startswith("<") else " ".join(words_of(word)) for word in heard.split())))
