"""What a configuration says of its sources, and of what may enter."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from manifests.strict import Strict


class Folder(Strict):
    """All files in a folder and its folders; the label is the folder's name or the file's own."""

    kind: Literal["folder"]
    path: str
    domain: Literal["sound", "music", "speech"] = "sound"
    label: Literal["parent", "stem"] | None = None
    role: Literal["event", "background", "either"] | None = None
    license: str = ""
    separate: bool = False
    conversation: bool = False


class Manifest(Strict):
    """A table of files: csv, jsonl or parquet."""

    kind: Literal["manifest"]
    path: str
    domain: Literal["sound", "music", "speech"] = "sound"
    separate: bool = False
    conversation: bool = False


class Soundfont(Strict):
    """Embedded: pieces of music with known stems, and single sounds, played by a General MIDI soundfont: the bundled one, or the file `font`."""

    kind: Literal["soundfont"]
    pieces: int = Field(0, ge=0)
    sounds: int = Field(0, ge=0)
    font: str | None = None
    license: str = ""


class Espeak(Strict):
    """Embedded: sentences of a built-in grammar, spoken by a synthesizer's voices in turn."""

    kind: Literal["espeak"]
    utterances: int = Field(0, ge=0)
    license: str = ""


Source = Annotated[Folder | Manifest | Soundfont | Espeak, Field(discriminator="kind")]
SOURCES = ("folder", "manifest", "soundfont", "espeak")


class Licenses(Strict):
    """Which licences clips may have, in capitals or not; None: any, and those that nobody stated too."""

    allow: list[Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]] | None = Field(None, min_length=1)

    def fault(self, license: str) -> str | None:
        """Why a clip of this licence is left out, or None.

        >>> Licenses(allow=["CC0-1.0"]).fault("cc0-1.0"), Licenses(allow=["cc0-1.0"]).fault("cc-by-4.0")
        (None, 'its licence is not in licenses.allow (cc-by-4.0)')
        """
        if self.allow is None or plain(license) in map(plain, self.allow):
            return None
        return f"its licence is not in licenses.allow ({license})" if plain(license) else "its source states no licence, which licenses.allow asks for"


def plain(license: str) -> str:
    """A licence's name as it is compared with others."""
    return license.strip().lower()
