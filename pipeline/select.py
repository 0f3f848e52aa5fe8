"""Select: ids of a run's pairs by what their rows say, for train and evaluate."""

import re

import pandas as pd
import pyarrow as pa

from manifests.errors import RequestError
from manifests.storage import split_uri
from manifests.tables import read_table, write_table
from pipeline.status import open_run


def select(root: str, where: str, output: str) -> tuple[int, int]:
    """Write the ids (column pair_id) of the kept pairs for which an expression holds; of tier "demo" only where it speaks of `tier`.

    Args:
        root: of a finished run.
        where: over the columns of quality/pairs.parquet, as pandas.DataFrame.query takes it.
        output: a .parquet file that does not exist.

    Returns:
        How many there are, and how many kept pairs of tier "demo" were left out, whatever holds of them.

    Raises:
        RequestError: no such run, an expression that cannot be taken or that holds nowhere, or a file that exists.
    """
    run, facts = open_run(root)
    if facts["state"] != "done":
        raise RequestError(f"{root}: the run is {facts['state']}, not done; audioedit status says how far it is")
    rows = read_table(run, "quality/pairs.parquet").to_pandas()
    kept = rows[rows.kept]
    rows = (kept if re.search(r"\btier\b", where) else kept[kept.tier != "demo"]).reset_index(drop=True)
    left_out = len(kept) - len(rows)
    try:
        chosen = rows.query(where)
    except (SyntaxError, ValueError, TypeError, NameError, KeyError, AttributeError, NotImplementedError) as error:  # pandas gives each of them
        raise RequestError(f"--where {where}: {' '.join(str(error).split())[:160]}; columns are {', '.join(rows.columns)}") from None
    if not isinstance(chosen, pd.DataFrame) or not len(chosen):
        raise RequestError(f"--where {where}: holds for none of the {len(rows)} kept pairs"
                           + (f"; {left_out} of tier demo are left out of an expression that does not speak of tier" if left_out else ""))
    place, name = split_uri(output)
    if place.exists(name):
        raise RequestError(f"-o {output}: exists already")
    try:
        write_table(place, name, pa.table({"pair_id": pa.array(chosen.pair_id, pa.string())}))
    except OSError as error:
        raise RequestError(f"-o {output}: cannot be written: {error.strerror or error}") from None
    return len(chosen), left_out


def selected(path: str) -> set[str]:
    """Ids of pairs in a parquet file.

    Raises:
        RequestError: it is none, or has no column pair_id.
    """
    try:
        return set(pd.read_parquet(path, columns=["pair_id"]).pair_id)
    except (OSError, ValueError, KeyError) as error:  # pyarrow's errors are ValueErrors
        raise RequestError(f"--select {path}: a parquet file with a column pair_id is wanted: {' '.join(str(error).split())[:120]}") from None
