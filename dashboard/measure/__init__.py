"""How long a person waits: a real Chromium drives the dashboard; `lbsf bench dashboard` calls it.

watch.py     when a page has come to rest, and had its first chart, told by the page itself
waits.py     cold start, opening a user, a click, an edit, a comparison, a search
crowd.py     many sessions at once: memory, and waits over minutes
session.py   the server's part alone, without a browser
"""
