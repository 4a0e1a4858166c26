"""Changes of real models on which no limit of the diagnosis was set."""
