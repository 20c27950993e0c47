"""The private state directory: who may read it, the files in it, and the secret that signs the cookies.

Everything here is for this user alone (0700, files 0600) and files appear whole or not at all, because a parent process
waits for `ready.json` and reads `sessions.json` the moment it is there.
"""

from __future__ import annotations

import ipaddress
import os
import secrets
import stat
import tempfile
from pathlib import Path

import filelock
import orjson

from server_under_test.errors import StartError
from server_under_test.settings import Settings

__all__ = ["StateDir", "bind_is_local", "cookie_secret", "password_is_weak", "secret_is_weak"]

_SHORTEST_SECRET = 32  # characters, as better-auth asks for
_SHORTEST_PASSWORD = 12
_FEWEST_DIFFERENT = 8


class StateDir:
    """The directory, held by one server at a time. Use as a context manager."""

    def __init__(self, chosen: Path | None) -> None:
        """Make or check the directory and take its lock. Raises StartError."""
        self._temporary = chosen is None
        try:
            self.path = Path(tempfile.mkdtemp(prefix="roadmap-server-")) if chosen is None else _private(chosen)
            self._lock = filelock.FileLock(self.path / "lock", timeout=0)
            self._lock.acquire()
        except filelock.Timeout:
            raise StartError(f"state directory {chosen} is in use by another server: stop it or name another") from None
        except OSError as error:
            raise StartError(f"state directory {chosen} cannot be used: {error.strerror}") from None
        self.ready = self.path / "ready.json"
        self.sessions = self.path / "sessions.json"
        self.accounts = self.path / "accounts.json"
        self.ready.unlink(missing_ok=True)

    def __enter__(self) -> StateDir:
        return self

    def __exit__(self, *_: object) -> None:
        self.ready.unlink(missing_ok=True)
        self._lock.release()
        if self._temporary:
            for entry in self.path.iterdir():
                entry.unlink()
            self.path.rmdir()

    def write(self, path: Path, data: object) -> None:
        """Write `data` as JSON in one step: a reader sees the old file or the new one. Raises StartError."""
        self.write_bytes(path, orjson.dumps(data, option=orjson.OPT_INDENT_2))

    def write_bytes(self, path: Path, content: bytes) -> None:
        """The same for plain bytes."""
        draft = path.with_name(path.name + ".new")
        try:
            draft.unlink(missing_ok=True)
            draft.touch(mode=0o600, exist_ok=False)
            draft.write_bytes(content)
            draft.replace(path)
        except OSError as error:
            raise StartError(f"{path} cannot be written: {error.strerror}") from None


def _private(path: Path) -> Path:
    path = path.absolute()
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = path.stat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise StartError(f"state directory {path} must be a directory of your own")
    if stat.S_IMODE(status.st_mode) & 0o077:
        if any(path.iterdir()):
            raise StartError(f"state directory {path} is open to other users: run chmod 700 on it or name another")
        path.chmod(0o700)
    return path


def cookie_secret(settings: Settings, state: StateDir) -> str:
    """The secret from the environment, the named file, or the state directory (made on first use). Raises StartError."""
    if settings.secret is not None:
        if not settings.secret:
            raise StartError("the secret in the environment is empty: unset it to have one made, or give one")
        return settings.secret
    path = settings.secret_file or state.path / "secret"
    if settings.secret_file is None and not path.exists():
        state.write_bytes(path, secrets.token_urlsafe(48).encode())
    try:
        secret = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise StartError(f"secret file {path} cannot be read: {reason}") from None
    if not secret:
        raise StartError(f"secret file {path} is empty")
    return secret


def bind_is_local(host: str) -> bool:
    """Whether only this machine can reach a server bound to `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def secret_is_weak(secret: str) -> bool:
    """Whether a cookie secret could be guessed: short, or hardly varied. better-auth's public default counts too."""
    return len(secret) < _SHORTEST_SECRET or len(set(secret)) < _FEWEST_DIFFERENT or "better-auth-secret" in secret


def password_is_weak(password: str) -> bool:
    """The same for the password of the seeded accounts."""
    return len(password) < _SHORTEST_PASSWORD or len(set(password)) < _FEWEST_DIFFERENT or "password" in password.lower()
