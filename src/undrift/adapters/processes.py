"""Which processes of this machine are gone for certain."""

from __future__ import annotations

import os
from pathlib import Path


class LinuxProcesses:
    """Tells dead processes by `/proc`; on a system without it nobody is ever said to be gone."""

    def me(self) -> str:
        """Return a name of this process that no other one has or will have on this start of the machine."""
        pid = os.getpid()
        return f"{_namespace()}:{pid}:{_started(pid)}"

    def is_gone(self, name: str) -> bool:
        """Whether the process of a name has ended; False when that cannot be known."""
        namespace, pid, started = ["", "", "", *name.rsplit(":", 2)][-3:]
        if not namespace or namespace != _namespace() or not pid.isdecimal() or not started:
            return False
        return _started(int(pid)) != started


def _namespace() -> str:
    """Return the namespace that process ids are counted in; in another container the same id is another process."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _started(pid: int) -> str:
    """Return when a process started, in ticks since boot; empty when there is none, or only its zombie."""
    try:
        # The name in parentheses may hold anything; state is the first field after it, the start the twentieth.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in ("Z", "X") else fields[19]
