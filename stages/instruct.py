"""Instruct: put an edit into words, of which Audio-Omni's own come first. What a wording claims of a scene is so in that scene."""

from manifests.clip import Clip
from manifests.labels import Labels
from manifests.pair import Pair
from manifests.scene import Scene
from manifests.speech import text_of
from stages.scenes.conversation import ORDINALS
from stages.scenes.utterance import Change
from stages.wordings import wordings

SPEECH = ("speech_delete", "speech_insert", "speech_substitute")
PLACES = (("at the beginning", "开头", 0.0, 0.33), ("in the middle", "中间", 0.36, 0.64), ("at the end", "结尾", 0.67, 1.0))  # parts of a scene
LEVELS = (("loud", "响亮", 15.0, float("inf")), ("quiet", "轻微", float("-inf"), 3.0))  # LU over the background
CHINESE_ORDINALS = "一二三四五六七八"


def instruct(pair: Pair, scene: Scene, labels: Labels) -> None:
    """Fill in a pair's label, instruction, all its wordings, and what is heard on each side.

    The label is the edited sound's, as the source named it; a label means that sound wherever it is heard, unless a wording says which one.

    Args:
        labels: what labels mean in words.
    """
    x, y = scene.stems[pair.edited[0]], scene.stems[pair.edited[-1]]
    single = len(pair.edited) == 1 or pair.edit in ("replace", "transfer")
    manners = {f"{pair.edit}_nth": {"nth": ORDINALS[x.nth - 1], "nth_zh": CHINESE_ORDINALS[x.nth - 1]}} if single and x.nth else {pair.edit: {}}
    if pair.edit == "transfer" and scene.kind == "piece":
        manners["transfer_piece"] = {}
    if pair.edit in ("add", "remove", "extract") and single and not x.nth and x.role == "event":
        first, end = (sample / scene.samples for sample in (x.onset, x.onset + x.length))
        manners |= {f"{pair.edit}_where": {"where": english, "where_zh": chinese} for english, chinese, low, high in PLACES if low <= first and end <= high}
        if pair.edit != "add":
            manners |= {f"{pair.edit}_loud": {"loud": english, "loud_zh": chinese} for english, chinese, low, high in LEVELS if low <= x.snr_db <= high}
    pair.label = x.label
    _put(pair, manners, _names(labels, x.label, y.label, several=not single))
    pair.source_text, pair.target_text = heard(scene, pair.before), heard(scene, pair.after)


def instruct_noop(pair: Pair, scene: Scene, labels: Labels, absent: str, present: str) -> None:
    """As `instruct`, of a pair that is about a sound that the scene has not, in whose place another is asked for that it has."""
    pair.label = absent
    _put(pair, {pair.edit: {}}, _names(labels, absent, present))
    pair.source_text = pair.target_text = heard(scene, pair.before)


def instruct_generate(pair: Pair, scene: Scene, labels: Labels, clip: Clip) -> None:
    """As `instruct`, of a pair that makes all of a scene out of silence: what is said, what is played, or what a clip alone is captioned or labelled.

    Args:
        clip: the scene's first.
    """
    pair.label = heard(scene, pair.after)
    if clip.role == "utterance":
        text = " ".join(clip.transcript.split())
        _put(pair, {"generate_speech": {}}, {"x": text})
    elif scene.kind == "piece":
        named = [labels[label] for label in dict.fromkeys(scene.stems[i].label for i in pair.after)]
        _put(pair, {"generate_music": {}}, {"x": listed([label.phrase for label in named]), "zh": "、".join(label.zh for label in named)})
        text = pair.label
    else:
        text = " ".join((clip.caption or clip.label).split())
        caption = text if text.endswith((".", "!", "?", "。", "!", "?")) else f"{text}."
        manners = {"generate_caption": {}} if clip.caption else {}
        _put(pair, manners | ({"generate": {}} if clip.label else {}), {"caption": caption} | _names(labels, clip.label, clip.label))
    pair.source_text, pair.target_text = "", text


def _names(labels: Labels, x: str, y: str, several: bool = False) -> dict[str, str]:
    """What fills the places of a wording that name sounds."""
    one, other = labels[x], labels[y]
    many = several and one.plural is not None
    the = f"the {one.plural}" if many else f"{'every' if several else 'the'} {one.count}"
    return {"label": x, "other": y, "x": one.plural if many else one.phrase, "y": other.phrase, "the": the, "count": one.count,
            "zh": one.zh, "zh_y": other.zh}


def _put(pair: Pair, manners: dict[str, dict[str, str]], names: dict[str, str]) -> None:
    """Fill in a pair's wordings in some manners, each told of by its own names, which in Chinese are those that end in _zh."""
    found: dict[str, str] = {}
    for manner, told in manners.items():
        chinese = {name.removesuffix("_zh"): text for name, text in told.items() if name.endswith("_zh")}
        for text in wordings(manner, pair.split):
            found.setdefault(text.format_map(names | (told if text.isascii() else chinese)), text)
    pair.instructions, pair.wordings = list(found), list(found.values())
    pair.instruction = pair.instructions[0]


def heard(scene: Scene, stems: list[int]) -> str:
    """The labels of some stems in words, with what is said in them; of one by itself that alone. "" if none has a label.

    >>> from manifests.scene import Stem
    >>> scene = Scene("", "soundscape", "", 8000, 1, 1, [Stem("", "event", label, 0, 0, 1, 0, 0) for label in ("rain", "", "dog", "woman speaking")])
    >>> scene.stems[3].text = "Come in."
    >>> heard(scene, [0, 1, 2]), heard(scene, [0, 3]), heard(scene, [3])
    ('rain and dog', 'rain and woman speaking (“Come in.”)', 'Come in.')
    """
    named = dict.fromkeys((stem.label, stem.text) for i in stems if (stem := scene.stems[i]).label)
    alone = len(named) == 1
    return listed([(text if alone else f"{label} (“{text}”)") if text else label for label, text in named])


def labelled(scene: Scene, stems: list[int]) -> str:
    """The labels of some stems in words; "" if none has one.

    >>> from manifests.scene import Stem
    >>> labelled(Scene("", "soundscape", "", 8000, 1, 1, [Stem("", "event", label, 0, 0, 1, 0, 0) for label in ("rain", "", "dog", "rain")]), [0, 1, 2, 3])
    'rain and dog'
    """
    return listed(list(dict.fromkeys(scene.stems[i].label for i in stems if scene.stems[i].label)))


def listed(words: list[str]) -> str:
    """Words in a row: "", "one", "one and another", "one, another and a third"."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def instruct_speech(pair: Pair, change: Change) -> None:
    """Fill in a pair's label, instruction, all its wordings, and what is said on each side.

    The label is the words that the edit is about, as they stand in the source (of `speech_insert`: in the target).
    """
    first, last, insert = change.first, change.last, pair.edit == "speech_insert"
    words, spliced = change.words, change.spliced
    source, target = (words, spliced) if pair.edit == "speech_delete" else (spliced, words)
    gone = words[first:last] if pair.edit == "speech_delete" else change.instead
    come = words[first:last]
    x = y = f"'{text_of(come)}'"
    english = {"x": x if insert else named(source, first, len(gone)), "place": beside(source, first)}
    chinese = {"x_zh": x if insert else named(source, first, len(gone), chinese=True), "place_zh": beside(source, first, chinese=True)}
    pair.label = text_of(come if insert else gone)
    _put(pair, {pair.edit: english | chinese}, {"y": y})
    pair.source_text, pair.target_text = text_of(source), text_of(target)


def instruct_speaker(pair: Pair, scene: Scene) -> None:
    """Fill in a pair's label, the speaker by order of appearance, instruction and all its wordings."""
    pair.label = scene.stems[pair.edited[0]].label
    nth = ORDINALS.index(pair.label.split()[0])
    _put(pair, {pair.edit: {}}, {"x": pair.label, "zh": f"第{CHINESE_ORDINALS[nth]}位说话人"})


def named(words: list[str], first: int, count: int, chinese: bool = False) -> str:
    """Words of a sentence in quotes, told by their order where they are said more than once: where each begins, if they overlap too.

    >>> named("five or five".split(), 2, 1), named("five or five".split(), 2, 1, chinese=True)
    ("the second 'five'", "第2个'five'")
    >>> named("he said no".split(), 1, 2), named(list("谢谢谢你"), 1, 2, chinese=True)
    ("'said no'", "第2个'谢谢'")
    """
    phrase = words[first : first + count]
    places = [n for n in range(len(words) - count + 1) if words[n : n + count] == phrase]
    quoted = f"'{text_of(phrase)}'"
    if len(places) == 1:
        return quoted
    nth = places.index(first) + 1
    if chinese:
        return f"第{nth}个{quoted}"
    if nth <= len(ORDINALS):
        return f"the {ORDINALS[nth - 1]} {quoted}"
    return f"the {nth}{'th' if nth % 100 in (11, 12, 13) else {1: 'st', 2: 'nd', 3: 'rd'}.get(nth % 10, 'th')} {quoted}"


def beside(words: list[str], at: int, chinese: bool = False) -> str:
    """Where in a sentence something comes in, by its neighbour.

    >>> beside("he said no".split(), 1), beside("he said no".split(), 0), beside("he said no".split(), 0, chinese=True)
    ("after 'he'", "before 'he'", "在'he'之前")
    """
    neighbour = named(words, at - 1 if at else 0, 1, chinese)
    if chinese:
        return f"在{neighbour}之{'后' if at else '前'}"
    return f"after {neighbour}" if at else f"before {neighbour}"
