"""Our implementations of the ports, one module per back-end."""
