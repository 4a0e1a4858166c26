"""What a back-end must do and what it may do."""
