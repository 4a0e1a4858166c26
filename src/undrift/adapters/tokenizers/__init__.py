"""Tokenizers of models that answer elsewhere, from files of this machine."""
