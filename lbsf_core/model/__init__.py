"""The LBSF model: fields, merchant aggregation, relations, and the bundle on disk."""
