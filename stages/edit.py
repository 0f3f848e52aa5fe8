"""Edit: read pairs off a rendered scene. An edit is which stems stand before and which after."""

from manifests.audio import to_int16
from manifests.loudness import peak_dbfs
from manifests.pair import Pair
from manifests.scene import Rendered, Scene
from stages.scenes import utterance

PEAK_DBFS = -1.0  # no source or target of a scene goes over it


def sides(scene: Scene, edit: str, stem: int) -> tuple[list[int], list[int], list[int]]:
    """Stems before, stems after, and the stems that the edit is about.

    >>> from manifests.scene import Stem
    >>> stems = [Stem("c", role, "", 0, 0, 9, 0, 0) for role in ("background", "event", "event")]
    >>> sides(Scene("s", "soundscape", "train", 8000, 1, 9, stems), "remove", 2)
    ([0, 1, 2], [0, 1], [2])
    """
    mixture = scene.mixture
    edited = occurrences(scene, stem)
    rest = [i for i in mixture if i not in edited]
    if edit == "generate":
        return [], mixture, mixture
    if edit == "add":
        return rest, mixture, edited
    if edit == "remove":
        return mixture, rest, edited
    if edit == "extract":
        return mixture, edited, edited
    follows = edit == "transfer" and scene.kind != "piece"
    other = next(i for i, s in enumerate(scene.stems) if s.place_of == stem and s.follows == follows)
    return mixture, sorted([*rest, other]), [stem, other]


def occurrences(scene: Scene, stem: int) -> list[int]:
    """The stems that an edit of a stem is about: the first of two that bear one label stands for both, the second for itself."""
    twice = [i for i in scene.mixture if scene.stems[i].nth]
    return twice if twice and stem == twice[0] else [stem]


def edit(rendered: Rendered, pairs: list[Pair]) -> None:
    """Fill in the pairs' audio, spans and recipe.

    Every side is one sum of stems, rounded once to 16 bits; equal sides are one array. All sides of a scene share
    one gain, lowered for all where one of them would peak over -1 dBFS; the sides of `add`, `remove` and `extract`
    count whether they are asked for or not, so that asking for one of them changes nothing for the others.
    """
    scene = rendered.scene
    wanted = {tuple(side) for pair in pairs for side in (pair.before, pair.after)}
    possible = set()
    if scene.kind not in ("utterance", "conversation"):
        possible = {tuple(side) for stem in scene.mixture for side in sides(scene, "extract", stem)[:2] + sides(scene, "remove", stem)[1:2]}
    peaks = {side: peak_dbfs(rendered.sum(list(side))) for side in sorted(wanted | possible)}
    over = max(peaks.values()) - PEAK_DBFS
    if over > 0:
        scene.gain_db = round(float(scene.gain_db - over - 0.0005), 3)
    rounded = {side: to_int16(rendered.sum(list(side))) for side in sorted(wanted)}
    for pair in pairs:
        pair.source, pair.target = rounded[tuple(pair.before)], rounded[tuple(pair.after)]
        pair.sample_rate, pair.gain_db = scene.sample_rate, scene.gain_db
        pair.duration_s = pair.target.shape[1] / scene.sample_rate
        pair.edit_spans = edit_spans(scene, pair.before, pair.after, pair.edited)


def edit_spans(scene: Scene, before: list[int], after: list[int], edited: list[int]) -> list[list[float]]:
    """Where in the target the edit is, in seconds [start, end]: where the edited stems sound, or where speech was joined.

    Where nothing is edited there is one, of no length.
    """
    if scene.kind != "utterance":
        return [list(span) for span in spans(scene, edited)] or [[0.0, 0.0]]
    _, (start, end) = utterance.spans(scene, before, after)
    return [[start / scene.sample_rate, end / scene.sample_rate]]


def spans(scene: Scene, stems: list[int]) -> list[tuple[float, float]]:
    """Where stems sound, as seconds (start, end), those that overlap or touch made one."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted((scene.stems[i].onset, scene.stems[i].onset + scene.stems[i].length) for i in stems):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return [(start / scene.sample_rate, end / scene.sample_rate) for start, end in merged]
