"""The published test kit: what an adapter has to pass, and what to test one's own code with."""
