"""Disposable hosts, made from Debian packages, for the end-to-end tests."""
