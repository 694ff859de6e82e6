"""Medproof: train, attack, certify and benchmark medical vision-language models, and show whether they look."""

__version__ = "0.1.0"
