"""The Streamlit app over `lbsf_core.workspace`: pages, charts, components, and the server."""
