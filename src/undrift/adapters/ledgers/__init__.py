"""Where the control plane remembers."""
