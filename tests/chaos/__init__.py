"""Breaks things on purpose, and compares the database with what scripted trainers wrote down themselves."""
