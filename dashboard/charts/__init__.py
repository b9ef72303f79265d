"""Pure charts: data in, `plotly` figure out; no Streamlit."""
