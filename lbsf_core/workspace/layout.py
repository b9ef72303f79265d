"""Names of what lies in a workspace, and its version. Imports nothing, so that opening is quick."""

WORKSPACE_VERSION = 9
SAMPLES, MERCHANTS, MONTHS = "samples.parquet", "merchants.parquet", "months.parquet"
PERFORMANCE, MANIFEST = "performance.json", "manifest.json"
#: What all of it holds, in one glance.
SUMMARY = "summary.json"
#: What the first page shows before anybody filters (`portfolio.write_front`).
FRONT = {name: f"front-{name}.arrow" for name in ("queue", "distribution", "outcomes")}
#: Name of a baseline -> the samples that it is made of, what it is in words, and the steps that a
#: comparison with it begins with.
BASELINES = "baselines.json"
#: The samples once more, uncompressed: some rows anywhere are a few reads, and to go through all
#: takes a quarter of the time. What `Tables` reads; `SAMPLES` is for other tools.
ROWS = "rows.arrow"
ATTRIBUTIONS, EMBEDDINGS = "attributions.parquet", "embeddings.parquet"
#: Attributions of each sample by merchant, kind of merchant, field and time (`groups.py`).
GROUPS = "groups.arrow"
#: What each field of each payment of each sample adds to its score (`explain/kept.py`).
KEPT = "explanations.arrow"
#: What the model makes of each sample as `VECTOR` float32 numbers of length 1, in sample order.
VECTORS = "vectors.f32"
VECTOR = 16
