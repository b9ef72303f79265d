"""`python -m dashboard run asgi.py`: Streamlit's own command, set up first."""

from streamlit.web.cli import main

from dashboard.quick import quick_start

if __name__ == "__main__":
    quick_start()
    main(prog_name="streamlit")
