"""A second tier behind a store, at any address that fsspec knows: s3://bucket/folder, gs://, sftp://, file:///, memory://.

What is written goes there too, and what is not here is looked for there. Nothing there is trusted: the store checks
every digest, so an entry that is half written or damaged counts as missing and is made and written again.
"""

from __future__ import annotations

import uuid
from typing import Any, Literal

from tam_edit.errors import StoreError, UsageError

Kind = Literal["keys", "blobs"]
_TRIES = 3


class RemoteTier:
    """Records and blobs under one address. Raises StoreError when it cannot be reached; nothing is done without it."""

    def __init__(self, files: Any, root: str, url: str) -> None:
        self._files = files
        self._root = root.rstrip("/")
        self.url = url
        protocol = files.protocol if isinstance(files.protocol, str) else files.protocol[0]
        # An object store shows an object once it is whole; in a folder it is renamed when it is.
        self._renames = protocol in ("file", "local", "sftp", "ssh", "smb")

    @classmethod
    def of(cls, url: str) -> RemoteTier:
        """The tier at an address. Raises UsageError for one that no installed file system knows."""
        try:
            from fsspec.core import url_to_fs
        except ImportError as error:
            raise UsageError("--store needs fsspec: pip install 'tam-edit[cluster]'") from error
        try:
            files, root = url_to_fs(url)
        except ImportError as error:
            raise UsageError(f"--store {url}: {error}") from error
        except (ValueError, OSError) as error:
            raise UsageError(
                f"--store {url}: no such kind of address ({error}): write s3://bucket/folder or file:///folder"
            ) from error
        return cls(files, root, url)

    def read(self, kind: Kind, digest: str) -> bytes | None:
        """An entry's bytes as they are, or None when there is none."""
        try:
            payload: bytes = self._tried(lambda: self._files.cat_file(self._path(kind, digest)))
        except FileNotFoundError:
            return None
        return payload

    def has(self, kind: Kind, digest: str) -> bool:
        return bool(self._tried(lambda: self._files.exists(self._path(kind, digest))))

    def write(self, kind: Kind, digest: str, payload: bytes) -> None:
        """Keep an entry; it appears whole."""
        path = self._path(kind, digest)

        def put() -> None:
            if not self._renames:
                self._files.pipe_file(path, payload)
                return
            self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
            self._files.makedirs(f"{self._root}/tmp", exist_ok=True)
            temporary = f"{self._root}/tmp/{uuid.uuid4().hex}"
            self._files.pipe_file(temporary, payload)
            self._files.mv(temporary, path)

        self._tried(put)

    def drop(self, kind: Kind, digest: str) -> None:
        try:
            self._tried(lambda: self._files.rm_file(self._path(kind, digest)))
        except FileNotFoundError:
            return  # another process was faster

    def _path(self, kind: Kind, digest: str) -> str:
        return f"{self._root}/{kind}/{digest[:2]}/{digest[2:]}"

    def _tried(self, work: Any) -> Any:
        """Do it, again after a fault of the network; what is not there is told at once."""
        for left in reversed(range(_TRIES)):
            try:
                return work()
            except FileNotFoundError:
                raise
            except Exception as error:  # every file system has errors of its own
                if not left:
                    raise StoreError(
                        f"the store {self.url} cannot be used ({type(error).__name__}: {error}): check address, "
                        "rights and network; what is finished is kept"
                    ) from error
        raise AssertionError("unreachable")
