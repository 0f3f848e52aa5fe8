"""Audio arrays: decode what users have, write FLAC, read it back.

Inside, audio is float32 of shape (channels, samples) at the run's one sample rate.
"""

import io
import re
from typing import BinaryIO

import av
import numpy as np
import soundfile
import soxr

from manifests.errors import Rejected

MIN_RATE, MAX_RATE = 4_000, 384_000  # Hz; outside, a header is taken to be damaged
LONGEST = 30 * 86_400.0  # s; more, and the header does not tell the length
LOUDEST = 100.0  # of full scale; floats beyond that are damage, and overflow in filters
VORBIS_5_1 = [0, 2, 1, 5, 3, 4]  # L, C, R, Ls, Rs, LFE put in the order of WAV: L, R, C, LFE, Ls, Rs
STREAMED = 0x7FFF_0000  # a chunk size from here on was written by who did not know it
# What FFmpeg may take a file for. No playlists: those make it open other files, and addresses.
CONTAINERS = "mov,matroska,webm,ogg,aac,mp3,flac,wav,w64,aiff,au,caf,asf,avi,flv,mpeg,mpegts,ac3,eac3,dts,wv,ape,tta,tak,amr"


def probe(file: str | BinaryIO) -> tuple[float, int, int]:
    """Duration (s), sample rate (Hz) and channels by the header alone.

    Raises:
        Rejected: no decoder reads it, or the header makes no sense.
    """
    try:
        with _open(file) as sound:
            seconds, rate, channels = sound.frames / sound.samplerate, sound.samplerate, sound.channels
    except soundfile.LibsndfileError:
        seconds, rate, channels = _probe_av(file)
    if not MIN_RATE <= rate <= MAX_RATE:
        raise Rejected(f"sample rate of {rate} Hz")
    if channels < 1:
        raise Rejected("no audio channels")
    if seconds <= 0:
        raise Rejected("no samples")
    if seconds > LONGEST:
        raise Rejected("its header does not tell its length")
    return seconds, rate, channels


def decode(file: str | BinaryIO, start: float, end: float, rate: int, channels: int) -> np.ndarray:
    """A stretch of a recording, resampled (soxr, high quality) and mixed down or up.

    Args:
        file: path or seekable file.
        start, end: seconds.
        rate: wanted Hz.
        channels: wanted, 1 or 2.

    Returns:
        float32 (channels, samples).

    Raises:
        Rejected: it cannot be decoded, ends early, or holds values that are not finite.
    """
    try:
        with _open(file) as sound:
            audio, source_rate = _read(sound, start, end), sound.samplerate
    except soundfile.LibsndfileError:
        audio, source_rate = _decode_av(file, start, end)
    return _as_wanted(audio, source_rate, rate, channels)


class Recordings:
    """Decodes stretches of files, and keeps the last file open: a stretch that begins where one ended costs no seek.

    An MP3 is sought through from its start, so that an hour of it, window by window, would be read sixty times.
    """

    def __init__(self):
        self._path, self._sound, self._at = "", None, 0  # the open file, and the sample that it stands at

    def decode(self, path: str, start: float, end: float, rate: int, channels: int) -> np.ndarray:
        """See the function `decode`."""
        if path != self._path:
            self.close()
            try:
                self._path, self._sound, self._at = path, _open(path), 0
            except soundfile.LibsndfileError:
                self._sound = None
        if self._sound is None:
            return decode(path, start, end, rate, channels)
        try:
            audio = _read(self._sound, start, end, self._at)
            self._at = round(start * self._sound.samplerate) + audio.shape[1]
        except Rejected:
            self.close()  # where it stands now is not known
            raise
        return _as_wanted(audio, self._sound.samplerate, rate, channels)

    def close(self) -> None:
        """Let the file go."""
        if self._sound is not None:
            self._sound.close()
        self._path, self._sound = "", None


def _as_wanted(audio: np.ndarray, source_rate: int, rate: int, channels: int) -> np.ndarray:
    if audio.shape[1] == 0:
        raise Rejected("no samples")
    if not np.isfinite(audio).all():
        raise Rejected("samples that are not finite (NaN or infinite)")
    if np.abs(audio).max() > LOUDEST:
        raise Rejected(f"samples more than {20 * np.log10(LOUDEST):.0f} dB over full scale")
    audio = _to_channels(audio, channels)
    if source_rate != rate:
        audio = soxr.resample(audio.T, source_rate, rate, quality="HQ").T
        if audio.shape[1] == 0:
            raise Rejected("no samples")
    return np.ascontiguousarray(audio, dtype=np.float32)


def _open(file: str | BinaryIO) -> soundfile.SoundFile:
    try:
        return soundfile.SoundFile(file)
    except TypeError:  # it wants to be told the rate of what is named .raw
        raise Rejected("raw samples, without a header that gives their rate") from None
    except UnicodeEncodeError:
        raise Rejected("its name is not UTF-8") from None


def _read(sound: soundfile.SoundFile, start: float, end: float, at: int = 0) -> np.ndarray:
    """Samples of a stretch (s) of a file that stands at sample `at`; some formats cannot seek, not even to there."""
    if _ends_early(sound.extra_info):
        raise Rejected("truncated: the file ends before its header says")
    first, last = round(start * sound.samplerate), min(round(end * sound.samplerate), sound.frames)
    if first >= last > 0:
        raise Rejected(f"nothing to read from {start:g} to {end:g} s of {sound.frames / sound.samplerate:g} s")
    try:
        if first != at:
            sound.seek(first)
        audio = sound.read(max(0, last - first), dtype="float32", always_2d=True).T
    except soundfile.LibsndfileError as error:
        raise Rejected(f"damaged or truncated{_said('libsndfile', error.error_string)}") from None
    if audio.shape[1] < last - first:
        raise Rejected(f"truncated: {audio.shape[1] / sound.samplerate:.2f} s of {end - start:.2f} s decode")
    return audio[VORBIS_5_1] if sound.format == "OGG" and len(audio) == 6 else audio


def _ends_early(notes: str) -> bool:
    """Whether libsndfile's notes on a file say that it was cut off."""
    sizes = [(int(said), int(found)) for said, found in re.findall(r":\s*(\d+) \(should be (\d+)\)", notes)]
    return any(found < said < STREAMED for said, found in sizes) or "lacks an end-of-stream" in notes or "Junk after the last page" in notes


def _seekable(file: str | BinaryIO) -> str | BinaryIO:
    if not isinstance(file, str):
        file.seek(0)
    return file


def _probe_av(file: str | BinaryIO) -> tuple[float, int, int]:
    try:
        with av.open(_seekable(file), metadata_errors="ignore", options={"format_whitelist": CONTAINERS}) as container:
            stream = _stream(container)
            if stream.duration is not None:
                seconds = float(stream.duration * stream.time_base)
            elif container.duration is not None:
                seconds = container.duration / av.time_base - float((stream.start_time or 0) * stream.time_base)
            else:
                raise Rejected("its length is unknown")
            return seconds, stream.rate, stream.channels
    except (av.FFmpegError, UnicodeError) as error:
        raise Rejected(f"damaged, or not audio{_said('FFmpeg', getattr(error, 'strerror', None) or '')}") from None


def _stream(container: av.container.InputContainer) -> av.AudioStream:
    if not container.streams.audio:
        raise Rejected("no audio stream")
    if container.streams.audio[0].codec_context is None:
        raise Rejected("its codec is not known")
    return container.streams.audio[0]


def _decode_av(file: str | BinaryIO, start: float, end: float) -> tuple[np.ndarray, int]:
    pieces, rate, at, got = [], 0, None, 0
    try:
        with av.open(_seekable(file), metadata_errors="ignore", options={"format_whitelist": CONTAINERS}) as container:
            stream = _stream(container)
            begins = float((stream.start_time or 0) * stream.time_base)
            if start > 1:
                container.seek(int((begins + start - 1) / stream.time_base), stream=stream)
            for frame in container.decode(stream):
                if frame.time is not None and at is None:
                    at = frame.time - begins
                rate = frame.sample_rate
                pieces.append(_planar(frame))
                got += pieces[-1].shape[1]
                if at is not None and at + got / rate >= end:
                    break
    except (av.FFmpegError, UnicodeError) as error:
        raise Rejected(f"damaged, or not audio{_said('FFmpeg', getattr(error, 'strerror', None) or '')}") from None
    if not pieces or len({p.shape[0] for p in pieces}) > 1:
        raise Rejected("no samples" if not pieces else "its number of channels changes")
    audio, at = np.concatenate(pieces, axis=1), at or 0.0
    first = max(0, round((start - at) * rate))
    audio = audio[:, first : max(first, round((end - at) * rate))]
    if audio.shape[1] < 0.9 * (end - start) * rate - 0.2 * rate:
        raise Rejected(f"truncated: {audio.shape[1] / rate:.2f} s of {end - start:.2f} s decode")
    return audio, rate


def _planar(frame: av.AudioFrame) -> np.ndarray:
    samples = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(-1, frame.layout.nb_channels).T
    if samples.dtype.kind == "u":
        return (samples.astype(np.float32) - 128) / 128
    if samples.dtype.kind == "i":
        return samples.astype(np.float32) / np.float32(2.0 ** (8 * samples.dtype.itemsize - 1))
    return samples.astype(np.float32)


def _said(decoder: str, words: str) -> str:
    """What a decoder gives as its reason, where that is more than a number."""
    words = words.removeprefix("Error : ").rstrip(". ")
    return f" ({decoder}: {words})" if words and "rror number" not in words else ""


def _to_channels(audio: np.ndarray, channels: int) -> np.ndarray:
    """Mix down by ITU-R BS.775 (5.1: L, R, C, LFE, Ls, Rs; LFE left out), or repeat mono."""
    if audio.shape[0] == channels:
        return audio
    if audio.shape[0] == 6:
        left = audio[0] + np.sqrt(0.5) * (audio[2] + audio[4])
        right = audio[1] + np.sqrt(0.5) * (audio[2] + audio[5])
        audio = np.stack([left, right]) / (1 + 2 * np.sqrt(0.5))
    if channels == 1:
        return audio.mean(axis=0, keepdims=True)
    return audio[:2] if audio.shape[0] > 1 else np.repeat(audio, channels, axis=0)


def to_int16(audio: np.ndarray) -> np.ndarray:
    """Round float audio once to int16; what is beyond full scale is clipped."""
    return np.clip(np.rint(audio * np.float32(32768)), -32768, 32767).astype(np.int16)


def encode_flac(audio: np.ndarray, rate: int) -> bytes:
    """FLAC of (channels, samples): 16 bits for int16, 24 bits for float32."""
    buffer = io.BytesIO()
    subtype = "PCM_16" if audio.dtype == np.int16 else "PCM_24"
    soundfile.write(buffer, audio.T, rate, format="FLAC", subtype=subtype)
    return buffer.getvalue()


def decode_flac(data: bytes, start: int = 0, length: int = -1, dtype: str = "float32") -> np.ndarray:
    """(channels, samples) of FLAC bytes, from sample `start`, `length` samples (-1: to the end)."""
    with soundfile.SoundFile(io.BytesIO(data)) as sound:
        if start:
            sound.seek(start)
        return np.ascontiguousarray(sound.read(length, dtype=dtype, always_2d=True).T)
