"""Where vectors are kept until they are published."""
