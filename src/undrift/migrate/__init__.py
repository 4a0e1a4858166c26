"""The work of a migration: carry over, compare, change the route."""
