"""Ways to call a user's own program at a moment of a migration."""
