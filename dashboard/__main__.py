"""`python -m dashboard run asgi.py`: Streamlit's own command, its socket set up first."""

from streamlit.web.cli import main

from dashboard.sockets import without_delay

if __name__ == "__main__":
    without_delay()
    main(prog_name="streamlit")
