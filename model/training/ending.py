"""A training that is asked to end does so after the step that it is at."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def asked_to_end() -> Iterator[Callable[[], bool]]:
    """Whether an interrupt came; the second one ends at once. Elsewhere than in the main thread nothing is changed."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    former = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def end(number, frame):
        asked.set()
        for each, handler in former.items():
            signal.signal(each, handler)

    for number in former:
        signal.signal(number, end)
    try:
        yield asked.is_set
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def unheard() -> Iterator[None]:
    """Processes that are started meanwhile do not hear of an interrupt, which a terminal sends to all."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
