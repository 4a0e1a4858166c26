"""Small servers that answer as the documentation of a database says, for databases that cannot run here.

They are spoken to over real sockets by the vendors' own clients. What they do is taken from the vendors' documentation
and not from a running server, so a test that passes on them proves that an adapter fits the documentation.
"""

from __future__ import annotations
