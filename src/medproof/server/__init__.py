"""Smoothed answers with certificates over HTTP. Importing this package is light."""
