"""What undrift costs, beside the bare client of the same store."""
