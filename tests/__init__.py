"""Tests of the library, the dashboard and the two together."""
