"""Who is like this user, as the model sees it; the vectors lie ready (`embeddings`)."""

from __future__ import annotations

import pandas as pd

from lbsf_core.workspace.layout import VECTOR
from lbsf_core.workspace.queries import Tables
from lbsf_core.workspace.types import Case


class Nearest:
    """The part of a workspace that compares samples with each other; no model is needed."""

    _tables: Tables

    def similar(self, case: Case, count: int = 10) -> pd.DataFrame:
        """Samples of other users whose representation is nearest, the nearest first.

        Samples without payments are left out, and so is each user's second sample.

        Columns: sample, user_id, cutoff, similarity (cosine, -1 to 1), pd, label, part, payments,
        top_merchant.
        """
        return self._tables.ask(
            f"""
            WITH here AS (
                SELECT vector::FLOAT[{VECTOR}] AS vector FROM read_parquet($embeddings)
                WHERE sample = $sample
            ), near AS (
                SELECT e.sample, array_cosine_similarity(e.vector::FLOAT[{VECTOR}], here.vector)
                       AS similarity
                FROM read_parquet($embeddings) e, here
            )
            SELECT sample, user_id, cutoff, similarity, pd, label, part, payments, top_merchant
            FROM near JOIN read_parquet($samples) USING (sample)
            WHERE user_id <> $user AND payments > 0 AND NOT isnan(similarity)
            QUALIFY row_number() OVER (PARTITION BY user_id ORDER BY similarity DESC, cutoff DESC)
                    = 1
            ORDER BY similarity DESC, sample LIMIT $count
            """,  # noqa: S608 - the size of a type is a constant of ours
            sample=case.sample,
            user=case.user_id,
            count=count,
        )
