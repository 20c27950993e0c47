"""export.py: what is written is what the run has, readable by others' readers."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

from harness.analysis.export import export
from harness.analysis.latency import latency_figures
from harness.analysis.run import load_run, merged
from tests.analysis.builder import Record, of, write


def test_every_broadcast_cast_and_second_is_in_the_tables(tmp_path: Path, records: list[Record]) -> None:
    records.insert(-1, {"kind": "coalesced", "worker": 0, "n": [3], "into": [23]})
    folder = write(tmp_path / "run", records)
    files = {path.name: path for path in export(folder)}
    broadcasts, casts = (pd.read_parquet(files[f"{name}.parquet"]) for name in ("broadcasts", "casts"))
    assert list(broadcasts["n"]) == list(casts["n"]) == list(range(len(of(records, "casts")[0]["n"])))
    assert list(broadcasts["delivered"]) == of(records, "broadcasts")[0]["delivered"]
    assert list(casts["due"]) == of(records, "casts")[0]["due"]
    assert casts["into"].dropna().to_dict() == {3: 23}
    seconds = pd.read_parquet(files["seconds.parquet"])
    assert len(seconds) == len(of(records, "second"))
    assert seconds["latency_n"].sum() == latency_figures(load_run(folder)).headline.n
    assert pd.read_parquet(files["target.parquet"])["rss"].notna().all()


def test_the_histogram_log_is_read_by_the_library_of_others(tmp_path: Path, records: list[Record]) -> None:
    folder = write(tmp_path / "run", records)
    path = next(path for path in export(folder) if path.name == "latency.hlog")
    total = HdrHistogram(1, 3_600_000_000, 3)
    reader = HistogramLogReader(str(path), total)
    while (part := reader.get_next_interval_histogram()) is not None:
        total.add(part)
    reader.close()
    ours = merged(load_run(folder).seconds["latency"])
    assert total.get_total_count() == ours.count > 0
    assert total.get_value_at_percentile(99.0) == ours.quantile(0.99)


def test_a_run_without_votes_has_empty_tables_and_no_error(tmp_path: Path, records: list[Record]) -> None:
    kept = [record for record in records if record["kind"] in ("header", "footer")]
    files = export(write(tmp_path / "run", kept))
    assert all(path.stat().st_size > 0 for path in files)
    assert len(pd.read_parquet(files[0])) == 0
