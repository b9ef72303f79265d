"""Names of what lies in a workspace, and its version. Imports nothing, so that opening is quick."""

WORKSPACE_VERSION = 4
SAMPLES, MERCHANTS, MONTHS = "samples.parquet", "merchants.parquet", "months.parquet"
PERFORMANCE, MANIFEST = "performance.json", "manifest.json"
ATTRIBUTIONS, EMBEDDINGS = "attributions.parquet", "embeddings.parquet"
#: Numbers of a vector in the embeddings.
VECTOR = 16
