"""What runs in the user's process on each write and each query."""
