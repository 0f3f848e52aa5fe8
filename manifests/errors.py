"""The three ways in which something can be wrong."""


class RequestError(Exception):
    """The request is wrong: its text names the key or the file and what would be right. Exit code 2."""


class RunError(Exception):
    """The run, or what was checked, failed. Exit code 1."""


class Rejected(Exception):
    """One file, clip or pair is left out; its text is the reason that stands in its row."""
