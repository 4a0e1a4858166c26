"""Rankings, golden sets and statistics: pure mathematics."""
