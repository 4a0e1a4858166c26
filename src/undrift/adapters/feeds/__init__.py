"""Where facts about embedding models come from."""
