"""What the labels of sounds mean: `labels.yaml`, which says how it is written, and a user's own file of that form over it."""

from dataclasses import dataclass, fields, replace
from pathlib import Path

from manifests.errors import RequestError
from manifests.strict import nearest, read_yaml

PACKAGED = Path(__file__).with_name("labels.yaml")
LISTS = ("synonyms", "ancestors")


@dataclass(frozen=True)
class Label:
    """An entry, its keys as `labels.yaml` explains them; `name`, `synonyms` and `ancestors` are case-folded, with single spaces, also for underscores."""

    name: str
    phrase: str
    plural: str | None
    count: str
    synonyms: tuple[str, ...]
    ancestors: tuple[str, ...]
    zh: str


KEYS = [field.name for field in fields(Label)][1:]


class Labels:
    """Labels by their names and synonyms; one that no file has stands for itself.

    >>> labels = Labels.read()
    >>> labels["Crying_Baby"].phrase, labels["klaxon of doom"].phrase
    ('a baby crying', 'klaxon of doom')
    """

    def __init__(self, labels: list[Label]):
        self._found = {word: label for label in labels for word in (label.name, *label.synonyms)}

    @classmethod
    def read(cls, path: str | Path | None = None) -> "Labels":
        """The packaged labels and a user's own over them: an entry takes the place of the one of its name, and its synonyms from all others.

        Synonyms and ancestors that it does not give are those of the entry that it takes the place of.

        Raises:
            RequestError: the file cannot be read, or an entry is wrong; names the file and the entry.
        """
        packaged, own = _read(PACKAGED), [] if path is None else _read(path)
        known = {label.name: label for label in packaged}
        own = [replace(label, **{key: getattr(known[label.name], key) for key in LISTS if label.name in known and not getattr(label, key)}) for label in own]
        taken = {word for label in own for word in (label.name, *label.synonyms)}
        kept = [replace(label, synonyms=tuple(s for s in label.synonyms if s not in taken)) for label in packaged if label.name not in taken]
        return cls([*kept, *own])

    def __getitem__(self, name: str) -> Label:
        return self._found.get(_normal(name)) or Label(_normal(name), name, None, name, (), (), name)

    def family(self, name: str) -> frozenset[str]:
        """The names of a label and of all its ancestors, and of theirs."""
        found, open_ = set(), [name]
        while open_:
            label = self[open_.pop()]
            if label.name not in found:
                found.add(label.name)
                open_ += label.ancestors
        return frozenset(found)

    def clash(self, one: str, other: str) -> bool:
        """Whether a sentence that names one label could mean the other: they are the same, or one is an ancestor of the other."""
        return self[one].name in self.family(other) or self[other].name in self.family(one)


def _read(path: str | Path) -> list[Label]:
    entries = read_yaml(path)
    if not isinstance(entries, dict):
        raise RequestError(f"{path}: a labels file is a table such as 'dog bark: {{phrase: a dog barking}}'")
    labels, owners = [_label(f"{path}: {' '.join(str(name).split())}: ", name, entry) for name, entry in entries.items()], {}
    for label in labels:
        for word in (label.name, *label.synonyms):
            if word in owners:
                raise RequestError(f"{path}: {label.name}: '{word}' stands twice, and is of '{owners[word]}' already")
            owners[word] = label.name
    return labels


def _label(where: str, name: object, entry: object) -> Label:
    if not isinstance(name, str) or not _normal(name):
        raise RequestError(f"{where}a label is text; put it in quotes")
    if not isinstance(entry, dict) or entry.get("phrase") is None and set(entry) <= set(KEYS):
        raise RequestError(f"{where}a label has a phrase, such as {{phrase: a dog barking}}")
    for key, value in entry.items():
        if key not in KEYS:
            raise RequestError(f"{where}unknown key '{' '.join(str(key).split())}'{nearest(str(key), KEYS)}")
        texts = value if key in LISTS else [value]
        if not isinstance(texts, list) or not all(isinstance(text, str) and _normal(text) for text in texts):
            raise RequestError(f"{where}{key} is {'a list of texts, such as [dog, bark]' if key in LISTS else 'text; put it in quotes'}")
    synonyms, ancestors = (tuple(map(_normal, entry.get(key, ()))) for key in LISTS)
    return Label(_normal(name), entry["phrase"], entry.get("plural"), entry.get("count", name), synonyms, ancestors, entry.get("zh", name))


def _normal(text: str) -> str:
    return " ".join(text.replace("_", " ").split()).casefold()
