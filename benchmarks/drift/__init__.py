"""Data drift beside others: who sees what, how often for nothing, and at what cost."""
