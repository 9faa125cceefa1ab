"""Who may talk to the server: the right Host and Origin, a token beyond loopback, and headers that keep others out."""

from __future__ import annotations

import hmac
import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

OWN_HEADER = "x-tam-edit"
"""Every request that changes something carries it: a page of another site cannot add it without asking first."""

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
SAFE_METHODS = frozenset({"GET", "HEAD"})


@dataclass(frozen=True)
class Access:
    """Where the server listens and what opens it. token None: loopback, where only the machine's own users come in."""

    host: str
    port: int
    token: str | None = None

    @property
    def cookie(self) -> str:
        # Cookies do not know ports: two servers on one machine must not overwrite each other's.
        return f"tam-edit-{self.port}"

    def host_fits(self, header: str) -> bool:
        """Whether a Host header can be meant for this server: DNS rebinding comes with the name of another site."""
        try:
            parts = urlsplit(f"//{header}")
            name, port = parts.hostname, parts.port
        except ValueError:
            return False
        if name is None or parts.username is not None or parts.path or (port if port is not None else 80) != self.port:
            return False
        if name in ("localhost", "127.0.0.1", "::1"):
            return True
        if self.token is None:
            return False
        # An address cannot be rebound; a name must be the machine's own or the one that was asked for.
        return _is_address(name) or name in (self.host.lower(), socket.gethostname().lower())


def is_loopback(host: str) -> bool:
    """Whether a server that listens there is reached from this machine only."""
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class Guard:
    """ASGI middleware: refuses what is not from the page itself, and adds the headers to every answer."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self.app = app
        self.access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # no web sockets are served
            return
        refusal = self._refusal(scope)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        answer = self.app if refusal is None else refusal
        await answer(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self.access.host_fits(hosts[0]):
            return _refused(421, "this server answers under its own address only (DNS rebinding is refused)")
        origin = headers.get("origin")
        if origin is not None and origin != f"http://{hosts[0]}":
            return _refused(403, "requests from other sites are refused")
        site = headers.get("sec-fetch-site", "none")
        opening = scope["path"] == "/" and headers.get("sec-fetch-mode", "navigate") == "navigate"
        if site not in ("same-origin", "none") and not (opening and scope["method"] in SAFE_METHODS):
            return _refused(403, "requests from other sites are refused")
        if scope["method"] not in SAFE_METHODS and headers.get(OWN_HEADER) != "1":
            return _refused(403, f"a request that changes something needs the header {OWN_HEADER}: 1")
        return self._token_refusal(scope, headers)

    def _token_refusal(self, scope: Scope, headers: Headers) -> Response | None:
        token = self.access.token
        if token is None:
            return None
        if _same(cookie_parser(headers.get("cookie", "")).get(self.access.cookie), token):
            return None
        given = dict(parse_qsl(scope["query_string"].decode("latin-1"))).get("token")
        if scope["path"] == "/" and scope["method"] == "GET" and _same(given, token):
            # The token leaves the address bar at once; from now on the cookie says it.
            answer = RedirectResponse("/", status_code=303)
            answer.set_cookie(self.access.cookie, token, httponly=True, samesite="strict")
            return answer
        return _refused(401, "open the page with the address that was printed when the server started (it has a token)")


def _same(given: str | None, token: str) -> bool:
    return given is not None and hmac.compare_digest(given.encode(), token.encode())


def _refused(status: int, words: str) -> Response:
    return PlainTextResponse(f"{words}\n", status_code=status)


def immutable(digests: Iterable[str]) -> dict[str, str]:
    """Headers of an answer that is named by the digest of its content: it never changes, so nobody asks twice."""
    return {"Cache-Control": "private, max-age=31536000, immutable", "ETag": f'"{"-".join(digests)}"'}
