"""A Spark session for `--engine spark`, and tasks that run our own Python on its workers.

Spark moves the work, we do it: every task gets a row that says what to do and gives back Arrow
batches (`mapInArrow`), so that nothing of Spark's own pandas support is needed. Files are read and
written by the tasks themselves, so they must lie where all workers see them (a local master: this
machine; a cluster: a shared file system). The extra `spark` brings Spark; it needs a Java.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from lbsf_core.errors import LbsfError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

#: Two workers on this machine; a task that fails, or whose worker is killed, is tried 4 times.
LOCAL = "local[2,4]"
#: Rows of a batch that Spark hands to Python.
BATCH_ROWS = 65_536

#: Does the work of some tasks: gives batches of what came out.
Work = Callable[[Any], Iterable[pa.RecordBatch]]


@contextmanager
def session(master: str = LOCAL) -> Iterator[SparkSession]:
    """A Spark session, stopped afterwards; one that runs already is used and left running.

    Args:
        master: of the cluster, as Spark writes it.

    Raises:
        LbsfError: Spark or Java is not installed, or the master can't be reached.
    """
    if not (shutil.which("java") or os.environ.get("JAVA_HOME")):
        raise LbsfError(
            "--engine spark needs Java 17 or later, and none is found (no `java` on the PATH, no "
            "JAVA_HOME). Debian: apt-get install default-jre-headless. Or use --engine local."
        )
    try:
        from pyspark.errors import PySparkException
        from pyspark.sql import SparkSession
    except ModuleNotFoundError as error:
        raise LbsfError(
            "--engine spark needs the extra `spark`: pip install 'lbsf[spark]'. "
            "Or use --engine local."
        ) from error
    with warnings.catch_warnings():
        # Spark warns of pandas 3; the Arrow path uses no pandas of Spark's.
        warnings.filterwarnings("ignore", message=".*pandas.*", category=FutureWarning)
        running = SparkSession.getActiveSession()
        try:
            spark = running or _started(master)
        except (PySparkException, RuntimeError, OSError) as error:
            raise LbsfError(f"Spark can't start at {master}: {first_line(error)}") from error
        try:
            yield spark
        except PySparkException as error:
            raise LbsfError(f"Spark gave up: {first_line(error)}") from error
        finally:
            if running is None:
                spark.stop()


def _started(master: str) -> SparkSession:
    from pyspark.sql import SparkSession

    # Workers run the same Python; on a cluster an archive of the environment is named instead.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    fixed = {
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.execution.arrow.maxRecordsPerBatch": str(BATCH_ROWS),
        "spark.sql.adaptive.coalescePartitions.enabled": "false",
        "spark.driver.maxResultSize": "0",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.log.level": "ERROR",
    }
    builder = SparkSession.builder.master(master).appName("lbsf")
    for key, value in fixed.items():
        builder = builder.config(key, value)
    return builder.getOrCreate()


def run_tasks(spark: SparkSession, tasks: list[Any], work: Work, schema: str) -> pa.Table:
    """Do some tasks on the workers, each a partition of its own; gives all that came out.

    Args:
        spark: a session.
        tasks: what each has to do: anything that JSON can hold.
        work: called on a worker with one task. A task may be done more than once.
        schema: of what comes out, as Spark writes it.
    """
    rows = [(number, json.dumps(task)) for number, task in enumerate(tasks)]
    if not rows:
        return pa.table({})
    frame = spark.createDataFrame(rows, "number int, task string")

    def each(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for task in batch.column("task").to_pylist():
                yield from work(json.loads(task))

    spread = frame.repartitionById(len(rows), "number") if len(rows) > 1 else frame.coalesce(1)
    return spread.mapInArrow(each, schema).toArrow()


def first_line(error: BaseException) -> str:
    """What an error says, without the lines of Java that follow."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
