"""Real processes on real databases, killed, stopped and cut off for as long as one likes, and an account of it."""
