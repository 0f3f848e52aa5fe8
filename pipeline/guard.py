"""Guard: a build that keeps too few pairs of an edit stops before it has made them all."""

from collections import Counter

from manifests.errors import RunError
from manifests.storage import Storage
from pipeline import commit
from pipeline.config import Stop


class Guard:
    """Counts what committed parts kept, in the order of their numbers, whichever was done first.

    So the same parts stop a run at the same place, however often it was killed or stopped before.
    """

    def __init__(self, run: Storage, stop: Stop):
        self._run, self._stop, self._waiting, self._next = run, stop, {}, 0
        self._parts, self._pairs, self._kept = Counter(), Counter(), Counter()

    def see(self, number: int, record: dict) -> None:
        """Count a pair part that is committed.

        Raises:
            RunError: an edit stands in `stop.parts` parts or more, and less than the share `stop.kept` of its pairs there was kept.
        """
        self._waiting[number] = record["edits"]
        while self._next in self._waiting:
            for edit, (pairs, kept) in self._waiting.pop(self._next).items():
                self._parts[edit] += 1
                self._pairs[edit] += pairs
                self._kept[edit] += kept
                if self._parts[edit] >= self._stop.parts and self._kept[edit] < self._stop.kept * self._pairs[edit]:
                    raise RunError(self._why(edit))
            self._next += 1

    def _why(self, edit: str) -> str:
        """How few pairs were kept, why most were not, and what to do."""
        seen = {number: record for number, record in commit.records(self._run, "pairs").items() if number <= self._next}
        rows = (row for table in commit.rows_of(self._run, seen) for row in table.select(["edit", "reason"]).to_pylist())
        [(reason, count)] = Counter(row["reason"] for row in rows if row["edit"] == edit and row["reason"] is not None).most_common(1)
        return (f"edit '{edit}' kept {self._kept[edit]} of {self._pairs[edit]} pairs in {self._parts[edit]} parts, under the {100 * self._stop.kept:g} % of "
                f"filters.stop; most often: {reason} ({count} times). What is done stays: the same command with --set filters.stop=null goes on with it. "
                f"With other rules or sources it is another run: choose another folder; --clips {self._run.root} takes the clips of this one")
