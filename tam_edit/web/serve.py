"""Running the page's server: bind first, so that the address is known and said; stop without losing work."""

from __future__ import annotations

import secrets
import socket
import webbrowser
from collections.abc import Callable

import uvicorn

from tam_edit.errors import UsageError
from tam_edit.web.app import build
from tam_edit.web.guard import Access, is_loopback
from tam_edit.web.studio import Studio


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens there; port 0 takes a free one. Raises UsageError with what to do."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise UsageError(
            f"cannot listen on {host} port {port} ({error.strerror or error}): choose another with --port, or 0 for any"
        ) from error
    return listening


def access_for(listening: socket.socket, host: str) -> Access:
    """Loopback needs no token; anything beyond gets a new one."""
    port = int(listening.getsockname()[1])
    return Access(host, port, None if is_loopback(host) else secrets.token_urlsafe(24))


def address(access: Access) -> str:
    """What to type into a browser; beyond loopback with the token, which is shown this once."""
    host = access.host
    if host in ("0.0.0.0", "::"):
        host = socket.gethostname()
    elif ":" in host:
        host = f"[{host}]"
    return f"http://{host}:{access.port}/" + (f"?token={access.token}" if access.token else "")


def serve(
    studio: Studio, listening: socket.socket, access: Access, say: Callable[[str], None], *, open_browser: bool
) -> None:
    """Serve until a person stops it; a run is stopped after its piece, and all that is finished is kept."""
    config = uvicorn.Config(
        build(studio, access),
        log_level="error",
        access_log=False,
        lifespan="off",
        ws="none",
        http="h11",
        loop="asyncio",
        server_header=False,
        timeout_graceful_shutdown=3,
    )
    server = uvicorn.Server(config)
    say(address(access))
    if open_browser:
        webbrowser.open(address(access))
    try:
        server.run(sockets=[listening])
    finally:
        studio.close()
        listening.close()
