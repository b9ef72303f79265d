"""What lies around Streamlit's answers, the outermost first: plain ASGI, and quick to import."""

from __future__ import annotations

from time import time

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from dashboard.early import Early
from dashboard.headers import changing, is_page
from dashboard.scripts import Scripts

#: Cookie that the server gives a browser that has none: when it first came, in Unix seconds.
FIRST_VISIT = "lbsf_first_visit"

#: Everything comes from this server. The escape function keeps data text from being read as markup;
#: this is the second lock: were it ever to fail, the browser still asks no other address.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self'",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'self'",
    )
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "no-referrer",
}


class SecurityHeaders:
    """Adds `HEADERS` to every HTTP response; plain ASGI, so that streamed files stay streamed."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        await self.app(scope, receive, changing(send, lambda headers: headers.update(HEADERS)))


class FirstVisit:
    """Gives a browser a cookie that says when it first came, so that the tour can be offered."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or FIRST_VISIT in HTTPConnection(scope).cookies:
            await self.app(scope, receive, send)
            return

        def with_cookie(headers: MutableHeaders) -> None:
            if is_page(headers):
                headers.append(
                    "Set-Cookie",
                    f"{FIRST_VISIT}={int(time())}; Path=/; Max-Age=31536000; SameSite=Lax; "
                    "HttpOnly",
                )

        await self.app(scope, receive, changing(send, with_cookie))


LAYERS = (SecurityHeaders, FirstVisit, Scripts, Early)
