"""Whatever bytes a file holds, it is measured or rejected with a reason."""

import io
import re
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer

import av
import numpy as np
import pytest
import ray
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from manifests.audio import decode, probe
from manifests.errors import Rejected
from manifests.storage import Storage
from pipeline import probe as probing
from pipeline import run as running
from pipeline.config import Config, Resources
from pipeline.sources import list_sources, windows

RATE = 16_000
BY_AV = {"m4a": ("mp4", "aac"), "mp4": ("mp4", "aac"), "webm": ("webm", "libopus"), "aac": ("adts", "aac")}
SUBTYPES = {"float.wav": ("WAV", "FLOAT"), "opus": ("OGG", "OPUS")}
KINDS = ["wav", "float.wav", "flac", "ogg", "opus", "mp3", "aiff", "au", "w64", "caf", *BY_AV]


def noise(seconds: float) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(round(seconds * RATE)).astype(np.float32) * 0.1


def encoded(kind: str, seconds: float = 0.5) -> bytes:
    buffer, samples = io.BytesIO(), noise(seconds)
    if kind not in BY_AV:
        container, subtype = SUBTYPES.get(kind, (kind.upper(), None))
        soundfile.write(buffer, samples, RATE, format=container, subtype=subtype)
        return buffer.getvalue()
    container, codec = BY_AV[kind]
    with av.open(buffer, "w", format=container) as output:
        stream = output.add_stream(codec, rate=RATE, layout="mono")
        resampler = av.AudioResampler(format=stream.codec_context.format, layout="mono", rate=RATE, frame_size=stream.codec_context.frame_size or 1024)
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate = RATE
        for ready in [*resampler.resample(frame), *resampler.resample(None)]:
            output.mux(stream.encode(ready))
        output.mux(stream.encode(None))
    return buffer.getvalue()


FILES = {kind: encoded(kind) for kind in KINDS}


def measured_or_rejected(path: str) -> bool:
    """Probe and decode as a build does; whether it was decoded."""
    try:
        seconds, rate, channels = probe(path)
        audio = decode(path, 0.0, min(seconds, 5.0), 8000, 1)
    except Rejected as rejected:
        assert re.search("[a-z]{2}", str(rejected)), "a reason is in words"
        return False
    assert seconds > 0 and rate > 0 and channels > 0
    assert audio.dtype == np.float32 and audio.shape[0] == 1 and audio.shape[1] > 0 and np.isfinite(audio).all()
    return True


@pytest.mark.parametrize("kind", KINDS)
def test_a_good_file_is_measured(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    path.write_bytes(FILES[kind])
    assert measured_or_rejected(str(path))
    seconds, _, channels = probing.probe_file(str(path))
    assert seconds == pytest.approx(0.5, abs=0.15) and channels == 1


@st.composite
def mutated(draw) -> tuple[str, bytes]:
    """A file with some of its bytes changed, mostly near its start, and perhaps cut off."""
    kind = draw(st.sampled_from(KINDS))
    data = bytearray(FILES[kind])
    size = draw(st.sampled_from([len(data), min(len(data), 150)]))
    for _ in range(draw(st.integers(0, 5))):
        at = draw(st.integers(0, size - 1))
        new = draw(st.one_of(st.sampled_from([b"\0", b"\xff", b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f"]), st.binary(max_size=4)))
        data[at : at + draw(st.sampled_from([len(new), 0]))] = new
    return kind, bytes(data[: draw(st.sampled_from([len(data), draw(st.integers(0, len(data)))]))])


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(mutated())
def test_a_damaged_file_is_measured_or_rejected(tmp_path, what):
    kind, data = what
    path = tmp_path / f"x.{kind}"
    path.write_bytes(data)
    measured_or_rejected(str(path))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300), st.sampled_from([
    b"", b"RIFF\x10\0\0\0WAVE", b"fLaC", b"OggS", b"ID3", b"\0\0\0\x20ftyp", b"\x1aE\xdf\xa3", b"FORM", b"#EXTM3U\n"]))
def test_any_bytes_are_measured_or_rejected(tmp_path, data, magic):
    path = tmp_path / "x.wav"
    path.write_bytes(magic + data)
    measured_or_rejected(str(path))


@pytest.mark.parametrize("name", ["x.raw", "x.RAW", "x.txt", "x", "x.wav.part", "x.jpg", "x.m3u8"])
def test_a_file_is_what_it_holds_whatever_its_name(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"no sound at all, " * 20)
    assert isinstance(probing.probe_file(str(path)), str)
    path.write_bytes(FILES["wav"])
    if not name.lower().endswith(".raw"):  # of these no rate is known
        assert probing.probe_file(str(path)) == (0.5, RATE, 1)


def test_a_header_and_nothing_else_has_no_samples(tmp_path):
    soundfile.write(tmp_path / "x.wav", np.zeros(0), RATE)
    assert probing.probe_file(str(tmp_path / "x.wav")) == "no samples"


def test_a_playlist_opens_no_other_file_and_no_address(tmp_path, refusing_server):
    address, asked = refusing_server
    for name, kind in (("good.aac", "aac"), ("good.wav", "wav")):
        (tmp_path / name).write_bytes(FILES[kind])
        for place in (name, f"{address}/{name}"):
            hls = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{place}\n#EXT-X-ENDLIST\n"
            for text in (f"ffconcat version 1.0\nfile {place}\n", hls):
                for path in (tmp_path / "x.wav", tmp_path / "x.m3u8"):
                    path.write_text(text)
                    assert isinstance(probing.probe_file(str(path)), str) and isinstance(probing.probe_file(f"file://{path}"), str)
    assert not asked


def test_uris_are_read_as_paths_are(tmp_path):
    for kind in ("wav", "m4a"):
        (tmp_path / f"a.{kind}").write_bytes(FILES[kind])
        assert probing.probe_file(f"file://{tmp_path}/a.{kind}") == probing.probe_file(f"{tmp_path}/a.{kind}")
    (tmp_path / "bad.wav").write_bytes(b"nothing")
    assert isinstance(probing.probe_file(f"file://{tmp_path}/bad.wav"), str)
    assert probing.probe_file(f"file://{tmp_path}/none.wav").startswith("cannot be read")


@pytest.fixture
def refusing_server():
    """The address of a server that gives nothing, and the paths that it was asked for."""
    asked = []

    class Refuse(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(403)

        do_HEAD = do_GET

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Refuse)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


def test_a_server_that_refuses_is_a_reason(tmp_path, refusing_server):
    address, asked = refusing_server
    assert isinstance(probing.probe_file(f"{address}/a.wav"), str)
    (tmp_path / "m.csv").write_text(f"path\n{address}/a.wav\n")
    (file,) = list_sources(Config(sources=[{"kind": "manifest", "path": str(tmp_path / "m.csv")}], edits={"add": 1})).files.values()
    assert file.status == "rejected" and file.reason and asked


def damaged_flac() -> bytes:
    """Half a second whose header says that it is some nine days long."""
    data = bytearray(FILES["flac"])
    assert data[:4] == b"fLaC"
    data[21] |= 0x03  # STREAMINFO: two of the uppermost of the 36 bits that count the samples
    return bytes(data)


def test_measure_fills_in_the_listing_once_and_rejects_a_length_that_cannot_be(tmp_path, ray_here):
    for name, data in {"a.wav": FILES["wav"], "b.flac": damaged_flac(), "c.wav": b"junk junk junk"}.items():
        (tmp_path / name).write_bytes(data)
    assert probe(str(tmp_path / "b.flac"))[0] > 5e5
    config, run = Config(sources=[{"kind": "folder", "path": str(tmp_path)}], edits={"add": 1}), Storage(str(tmp_path / ".run"))
    listing = list_sources(config)
    probing.measure(listing, run, Resources())
    a, b, c = listing.files.values()
    assert (a.status, a.seconds, a.sample_rate, a.channels) == ("ok", 0.5, RATE, 1)
    assert b.status == c.status == "rejected" and "damaged" in b.reason and "not audio" in c.reason
    assert len(windows(listing, 10.0)) == 1
    (tmp_path / "a.wav").write_bytes(b"changed since")  # what was measured stands; the listing's digest tells a change
    again = list_sources(config)
    probing.measure(again, run, Resources())
    assert [f.seconds for f in again.files.values()] == [0.5, None, None] and again.files[c.uri].reason == c.reason


@pytest.fixture
def stalling_server():
    """The address of a server that says how long a file is, and then never sends it."""
    over = threading.Event()

    class Stall(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(200)
            self.send_header("Content-Length", "100000")
            self.send_header("Accept-Ranges", "bytes")
            self.end_headers()

        def do_GET(self):
            over.wait(60)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Stall)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    over.set()
    server.shutdown()
    server.server_close()


def test_a_header_that_never_comes_is_given_up_and_the_others_are_read(tmp_path, stalling_server, ray_here):
    (tmp_path / "a.wav").write_bytes(FILES["wav"])
    (tmp_path / "m.csv").write_text(f"path\n{stalling_server}/x.wav\na.wav\n")
    listing = list_sources(Config(sources=[{"kind": "manifest", "path": str(tmp_path / "m.csv")}], edits={"add": 1}))
    probing.measure(listing, Storage(str(tmp_path / ".run")), Resources(), limit=3.0)
    late, good = listing.files.values()
    assert (late.status, late.reason) == ("rejected", "its header was not read after 3 s: given up")
    assert (good.status, good.seconds) == ("ok", 0.5)


@pytest.fixture
def ray_here(ray_head):
    """Joined to the cluster for one test."""
    running.connect(ray_head)
    yield
    ray.shutdown()
