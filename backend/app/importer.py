"""Runs imports, one at a time, in a thread of its own."""
