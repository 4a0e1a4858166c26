"""Where a file lies, and whether several processes may share it there."""

from __future__ import annotations

from pathlib import Path

import apsw

from undrift.errors import LedgerUnusable

#: Filesystems on which locks or shared memory do not work between hosts.
NETWORK_FILESYSTEMS = frozenset(
    {
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "lustre", "gpfs", "ocfs2", "gfs2"),
        *("fuse.sshfs", "fuse.glusterfs"),
    }
)
#: Python has no statfs(2), whose answer would be the same.
_MOUNTS = Path("/proc/self/mounts")


def refuse_network_filesystem(path: Path, mounts: Path = _MOUNTS) -> None:
    """Pass when the file is on a disk of this machine.

    Raises:
        LedgerUnusable: it is on a network filesystem, where SQLite's locks do not hold.
    """
    kind = filesystem_of(path, mounts)
    if kind in NETWORK_FILESYSTEMS:
        raise LedgerUnusable(
            f"{path} is on a network filesystem ({kind}); SQLite cannot share a file over it safely",
            "locks and shared memory do not work between hosts",
            "put the file on a local disk, or use a server for several hosts",
        )


def filesystem_of(path: Path, mounts: Path = _MOUNTS) -> str:
    """Return the type of the filesystem a path is on, or an empty string where the system does not say."""
    try:
        lines = mounts.read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    resolved = str(path.parent.resolve() if not path.exists() else path.resolve())
    best, kind = "", ""
    for line in lines:
        fields = line.split(" ")
        point = fields[1].replace("\\040", " ")
        inside = resolved == point or resolved.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, fields[2]
    return kind


def identity_of(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from every other one, or None when there is none at this path.

    Raises:
        apsw.CantOpenError: the path cannot be looked at.
    """
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise apsw.CantOpenError(f"{path}: {error.strerror}") from error
    return status.st_dev, status.st_ino
