"""Texts of a parquet of clips by `mlflow.pyfunc.spark_udf` in Spark's local mode, held against those of `generate`.

usage: python -m benchmarks.spark --model models:/sign-translator@champion [--cores N]

Needs Java 17 or newer, and pyspark: pip install pyspark==4.2.0. The clips are those of the demo corpus's split test.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
from pyspark.sql import SparkSession
from pyspark.sql.functions import struct

from sign_models.data.splits import clips_of_split
from sign_models.datasets.inputs import Inputs
from sign_models.keypoints.sequence import KeypointSequence, from_canonical
from sign_models.models.storage import load
from sign_models.models.translator import Translator
from sign_models.params.load import resolve
from sign_models.serving.served_model import MAX_CLIPS, clip_of
from sign_models.stages.generate import generate


def by_spark(model: str, clips: list[KeypointSequence], cores: int, folder: Path) -> dict[str, str]:
    """Text by id. What stands here is what a cluster runs: only `master` differs."""
    pd.DataFrame([{"id": clip.id, **clip_of(clip)} for clip in clips]).to_parquet(folder / "clips.parquet")
    os.environ["PYSPARK_PYTHON"] = sys.executable
    spark = (
        SparkSession.builder.master(f"local[{cores}]")
        .config("spark.sql.execution.arrow.maxRecordsPerBatch", MAX_CLIPS)
        .config("spark.ui.enabled", False)
        .config("spark.driver.host", "127.0.0.1")
        .getOrCreate()
    )
    try:
        whole = {"reject_below": 0.0}  # generate keeps what is not sure
        result = "text string, score double"
        translate = mlflow.pyfunc.spark_udf(spark, model, result, env_manager="local", params=whole)
        table = spark.read.parquet(str(folder / "clips.parquet")).repartition(cores)
        columns = [name for name in table.columns if name != "id"]
        rows = table.select("id", translate(struct(*columns)).alias("answer")).select("id", "answer.text").collect()
    finally:
        spark.stop()
    return {row["id"]: row["text"] for row in rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--cores", type=int, default=os.cpu_count())
    given = parser.parse_args()
    inputs = Inputs.from_paths(None, None, None, None)
    videos = inputs.videos
    clips = [
        from_canonical(videos.ids[i], np.asarray(videos.frames[videos.offsets[i] : videos.offsets[i + 1]]))
        for i in clips_of_split(videos, "test")
    ]
    with tempfile.TemporaryDirectory() as scratch:
        start = time.monotonic()
        spark = by_spark(given.model, clips, given.cores, Path(scratch))
        took = time.monotonic() - start
        translator = load(Path(mlflow.artifacts.download_artifacts(given.model, dst_path=scratch)) / "artifacts/model")
    assert isinstance(translator, Translator)
    rows = generate(translator, videos, inputs.texts, resolve(sets={"generate.splits": "[test]"}).generate).rows
    wanted = {str(row["id"]): row["text"] for row in rows}
    equal = sum(spark[clip.id] == wanted[clip.id] for clip in clips)
    print(f"{equal} of {len(clips)} texts equal; Spark {took:.0f} s on {given.cores} cores, its start included")
    raise SystemExit(equal != len(clips))


if __name__ == "__main__":
    main()
