"""How an English word is pronounced, for words that a recogniser's dictionary lacks: espeak-ng's phonemes, as CMUdict's phones.

The phones are the 39 of the CMU Pronouncing Dictionary (Carnegie Mellon University) without stress.
"""

import atexit
import ctypes
import re
import threading
import unicodedata
from contextlib import ExitStack
from functools import lru_cache

from stages.engines.espeak import UTF8, fresh

VOICE = b"en-us"
IPA_PARTED = 0x02 | ord("_") << 8  # speak_lib.h: IPA, phonemes parted by this
UNHEARD = re.compile(r"\([^)]*\)|[ˈˌ\u200d]")  # changes of language, stress

PHONES = {
    **{"b": "B", "d": "D", "f": "F", "h": "HH", "j": "Y", "k": "K", "l": "L", "m": "M", "n": "N", "p": "P", "r": "R", "s": "S", "t": "T", "v": "V"},
    **{"w": "W", "z": "Z", "ð": "DH", "ŋ": "NG", "ɡ": "G", "ɹ": "R", "ɾ": "T", "ʃ": "SH", "ʒ": "ZH", "ʔ": "T", "θ": "TH", "tʃ": "CH", "dʒ": "JH"},
    **{"x": "K", "ç": "HH", "ɬ": "L", "ɲ": "N Y", "nʲ": "N Y", "n̩": "AH N", "əl": "AH L", "əm": "AH M", "ən": "AH N", "l̩": "AH L", "m̩": "AH M"},
    **{"a": "AA", "aː": "AA", "e": "EH", "eː": "EY", "i": "IY", "iː": "IY", "o": "OW", "oː": "OW", "u": "UW", "uː": "UW", "y": "UW", "æ": "AE"},
    **{"ɐ": "AH", "ɑ": "AA", "ɑː": "AA", "ɑ̃": "AA N", "ɔ": "AA", "ɔː": "AO", "ɔ̃": "AO N", "ə": "AH", "ɚ": "ER", "ɛ": "EH", "ɜː": "ER", "ɜ": "ER"},
    **{"ɪ": "IH", "ᵻ": "IH", "ʊ": "UH", "ʌ": "AH", "aɪ": "AY", "aʊ": "AW", "eɪ": "EY", "oʊ": "OW", "ɔɪ": "OY", "iə": "IY AH", "aɪə": "AY AH"},
    **{"aɪɚ": "AY ER", "aʊɚ": "AW ER", "ɑːɹ": "AA R", "ɔːɹ": "AO R", "oːɹ": "AO R", "ɛɹ": "EH R", "ɪɹ": "IH R", "ʊɹ": "UH R"},
}
LONGEST = max(map(len, PHONES))
HABITS = (  # where CMUdict writes the same sounds otherwise, or espeak forgets that a final 's is unvoiced after p, t, k, f, th
    (re.compile(r"\b(R|ER) R\b"), r"\1"),
    (re.compile(r"\bIH (?=[AEIOU])"), "IY "),
    (re.compile(r"(?<=\b[PTKF]) Z$|(?<=\bTH) Z$"), " S"),
)

_turn = threading.Lock()  # the library speaks for one at a time


@lru_cache(maxsize=100_000)
def arpabet(word: str) -> str | None:
    """The pronunciation of an English word of Latin letters, digits and apostrophes, as phones parted by spaces.

    None if the word holds anything else, or if nothing of it is heard.

    >>> arpabet("thoughtful"), arpabet("москва")
    ('TH AO T F AH L', None)

    Raises:
        RequestError: espeakng_loader is not installed.
    """
    word = unicodedata.normalize("NFC", word).casefold()
    if not any(map(str.isalnum, word)) or not all(c in "'0123456789" or unicodedata.name(c, "").startswith("LATIN SMALL LETTER") for c in word):
        return None
    phones = " ".join(phone for symbol in re.split(r"[_\s]+", UNHEARD.sub("", _ipa(word))) for phone in _phones(symbol))
    for habit, written in HABITS:
        phones = habit.sub(written, phones)
    return phones or None


def _phones(symbol: str) -> list[str]:
    """The phones of one of espeak's phonemes; what is not in the table whole is taken piece by piece, longest first."""
    phones = []
    while symbol:
        size = next((size for size in range(LONGEST, 0, -1) if symbol[:size] in PHONES), 1)
        phones += PHONES.get(symbol[:size], "").split()
        symbol = symbol[size:]
    return phones


def _ipa(word: str) -> str:
    text = ctypes.create_string_buffer(word.encode())
    at, found = ctypes.c_void_p(ctypes.addressof(text)), []
    with _turn:
        library = _library()
        while at.value:
            found.append((library.espeak_TextToPhonemes(ctypes.byref(at), UTF8, IPA_PARTED) or b"").decode())
    return "_".join(found)


@lru_cache
def _library() -> ctypes.CDLL:
    kept = ExitStack()
    library, _ = kept.enter_context(fresh())
    atexit.register(kept.close)
    library.espeak_SetVoiceByName(VOICE)
    library.espeak_TextToPhonemes.restype = ctypes.c_char_p
    return library
