"""Where vectors are kept that were paid for."""
