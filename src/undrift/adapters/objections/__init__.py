"""Ways in which a user's own system says that the workers have to wait."""
