"""What transformers would say that a user need not hear."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

UNTOLD = {  # warnings of transformers, by its module
    "modeling_rope_utils": ["mrope_section"],  # a key of Qwen's own configuration, which is read all the same
    "modeling_utils": ["newly initialized", "LOAD REPORT"],  # weights that lack, or are of no use here; the first are told as an error
}


@contextmanager
def quiet(path: str) -> Iterator[None]:
    """Transformers without its bars where nothing is downloaded, and without the warnings of `UNTOLD`."""
    from transformers.utils import logging as told

    logs, bars = [logging.getLogger(f"transformers.{name}") for name in UNTOLD], os.path.isdir(path) and told.is_progress_bar_enabled()

    def counts(record: logging.LogRecord) -> bool:
        return not any(words in record.getMessage() for words in UNTOLD[record.name.removeprefix("transformers.")])

    for log in logs:
        log.addFilter(counts)
    if bars:
        told.disable_progress_bar()
    try:
        yield
    finally:
        for log in logs:
            log.removeFilter(counts)
        if bars:
            told.enable_progress_bar()
