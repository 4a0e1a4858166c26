"""The demonstration: a real collection changes its embedding model while it is searched, written and deleted from."""
