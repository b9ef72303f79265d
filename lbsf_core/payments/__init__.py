"""Raw payments in, validated payments out: schema, ingest, windows, simulation."""
