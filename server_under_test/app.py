"""The life of the server: open the state, listen, say so in ready.json, and leave in order when told to.

Order matters twice. A parent that sees ready.json must find a listening socket and valid sessions; and on the way out
new handshakes are refused first, then every socket hears why, then the store closes.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import dataclasses
import gc
import logging
import os
import resource
import signal
import ssl
import time
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger
from aiohttp.http_exceptions import HttpProcessingError

from schemas import Contract
from server_under_test import seed
from server_under_test.again import command_of, ends_with
from server_under_test.auth import CookieJar
from server_under_test.errors import StartError
from server_under_test.identity import Identity
from server_under_test.metrics import Metrics
from server_under_test.parts import Parts
from server_under_test.settings import Settings
from server_under_test.state import StateDir, bind_is_local, cookie_secret, secret_is_weak
from server_under_test.store import Store, StoreError

__all__ = ["serve"]

log = logging.getLogger(__name__)

_BUSY_TIMEOUT = 0.02  # seconds that one call may hold up every socket while another process has the database
_CHECKPOINT_EVERY = 1.0
_HTTP_GRACE = 2.0  # seconds for requests in progress once the sockets are down, and for the rest of an unread body
_ACCEPT_QUEUE = 2048  # a thousand clients may come back in the same moment
_SPARE_DESCRIPTORS = 1024


class _AccessLog(AbstractAccessLogger):
    """Method, path, status, size and time: no query and no header, where secrets might be."""

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        size = response.body_length
        self.logger.info("%s %s %d %d bytes %.1f ms", request.method, request.path, response.status, size, time * 1e3)


class _Discreet(logging.Filter):
    """aiohttp logs a malformed request with an excerpt, which may be a cookie: keep the fact, drop the excerpt."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
        if isinstance(error, HttpProcessingError):
            record.msg, record.args, record.exc_info = "malformed HTTP request refused", (), None
        return True


@dataclass(slots=True)
class _Exit:
    """Set by the first signal; the second one ends the process on the spot."""

    asked: asyncio.Event

    def __call__(self, number: int) -> None:
        if self.asked.is_set():
            os._exit(128 + number)
        log.info("%s: shutting down", signal.Signals(number).name)
        self.asked.set()


def _tls(settings: Settings) -> ssl.SSLContext | None:
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key)
    except ssl.SSLError as error:
        raise StartError(f"--tls-cert and --tls-key do not make a certificate: {error.reason or error}") from None
    except OSError as error:
        raise StartError(f"--tls-cert or --tls-key cannot be read: {error.strerror}") from None
    return context


def _parts(settings: Settings) -> Parts:
    """What the server is made of: the real classes, unless faults were asked for. Only then is their code imported."""
    if not settings.faults:
        return Parts()
    if not bind_is_local(settings.host):
        raise StartError(f"--fault breaks the contract on purpose: with it the server listens on loopback only, not on {settings.host}")
    from server_under_test.faults import faulty_parts, load_faults

    parts = faulty_parts(settings.faults)
    for name in settings.faults:
        fault = load_faults()[name]
        log.critical("FAULT %s: this server breaks %s on purpose. %s", name, fault.clause, fault.summary)
    return parts


def _open_store(kind: type[Store], path: Path) -> Store:
    try:
        return kind(path, busy_timeout=_BUSY_TIMEOUT)
    except StoreError as error:
        raise StartError(str(error)) from None


def _raise_descriptor_limit(connections: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _SPARE_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        if soft < wanted:
            log.warning("only %d open files are allowed: %d connections may not fit (raise ulimit -n)", soft, connections)


def _check_exposure(settings: Settings, secret: str, passwords_strong: bool) -> None:
    if bind_is_local(settings.host):
        return
    if secret_is_weak(secret):
        raise StartError(
            f"--host {settings.host} can be reached from other machines and the cookie secret could be guessed: use at "
            "least 32 varied characters, or let the server make one"
        )
    if not passwords_strong:
        raise StartError(
            f"--host {settings.host} can be reached from other machines and the seeded password could be guessed: use at "
            "least 12 varied characters with a new state directory, or let the server make one"
        )


async def _checkpoints(store: Store) -> None:
    while True:
        await asyncio.sleep(_CHECKPOINT_EVERY)
        try:
            await asyncio.to_thread(store.checkpoint)
        except StoreError as error:
            log.warning("%s; the log is moved into the database later", error)


def _settle() -> None:
    """Make what was loaded permanent, and give back what the start no longer needs.

    Collections need not walk what lives to the end. And freed memory that the process kept would hide the growth of the
    first thousand connections from whoever measures bytes per connection.
    """
    gc.collect()
    gc.freeze()
    with contextlib.suppress(OSError, AttributeError):  # glibc only
        ctypes.CDLL(None).malloc_trim(0)


async def _listen(settings: Settings, runner: web.AppRunner, tls: ssl.SSLContext | None) -> str:
    """Start listening; returns the address as it goes into a URL."""
    site = web.TCPSite(runner, settings.host, settings.port, ssl_context=tls, backlog=_ACCEPT_QUEUE)
    try:
        await site.start()
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else "the address is not known here"
        raise StartError(f"cannot listen on {settings.host} port {settings.port}: {reason}") from None
    port = runner.addresses[0][1]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104 - not a bind
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def serve(settings: Settings, contract: Contract) -> None:
    """Run until SIGTERM or SIGINT. Raises StartError when it cannot begin."""
    parts = _parts(settings)
    stop = _Exit(asyncio.Event())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
    tls = _tls(settings)
    _raise_descriptor_limit(settings.limits.connections)
    with StateDir(settings.state_dir) as state:
        secret = cookie_secret(settings, state)
        cookies = parts.cookies(contract.cookie, secret, secure=tls is not None)
        store = _open_store(parts.store, settings.database or state.path / "roadmap.db")
        with contextlib.closing(store):
            try:
                passwords_strong = seed.prepare(store, state, settings, cookies)
            except StoreError as error:
                raise StartError(str(error)) from None
            _check_exposure(settings, secret, passwords_strong)
            with ends_with(settings.end_with, stop.asked.set):
                await _run(settings, contract, parts, state, store, cookies, tls, stop.asked)


async def _run(
    settings: Settings,
    contract: Contract,
    parts: Parts,
    state: StateDir,
    store: Store,
    cookies: CookieJar,
    tls: ssl.SSLContext | None,
    asked: asyncio.Event,
) -> None:
    def revalidate(session_id: str) -> Identity | None:
        return store.session_by_id(session_id, time.time())

    metrics = Metrics()
    hub = parts.hub(settings.limits, revalidate=revalidate)
    metrics.watch(lambda: hub.connections, hub.counters)
    api = parts.api(settings, contract, store, hub, cookies, metrics)
    http_log = logging.getLogger("server_under_test.http")
    http_log.addFilter(_Discreet())
    runner = web.AppRunner(
        api.application(),
        access_log=http_log if settings.access_log else None,
        access_log_class=_AccessLog,
        logger=http_log,
        shutdown_timeout=_HTTP_GRACE,
        lingering_time=_HTTP_GRACE,
    )
    await runner.setup()
    checkpoints = asyncio.create_task(_checkpoints(store))
    try:
        address = await _listen(settings, runner, tls)
        secure = "s" if tls is not None else ""
        base_url = f"http{secure}://{address}"
        _settle()
        state.write(
            state.ready,
            {
                "base_url": base_url,
                "ws_url": f"ws{secure}://{address}{contract.path}",
                "pid": os.getpid(),
                "metrics_url": f"{base_url}/metrics",
                "sessions_file": str(state.sessions),
                "limits": dataclasses.asdict(settings.limits),
                "command": command_of(settings, runner.addresses[0][1]),
                "directory": str(Path.cwd()),
                "parent": os.getppid(),
                "started": time.time(),
                **({"faults": settings.faults} if settings.faults else {}),
            },
        )
        log.info("listening on %s; sessions and accounts are in %s", base_url, state.path)
        await asked.wait()
    finally:
        api.stop_accepting()
        for site in list(runner.sites) if parts.door_shuts_first else ():
            await site.stop()
        await hub.stop()
        await runner.cleanup()
        checkpoints.cancel()
        await asyncio.gather(checkpoints, return_exceptions=True)
    log.info("stopped")
