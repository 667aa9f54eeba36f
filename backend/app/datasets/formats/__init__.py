"""Formats that people bring, a module each: recognise one by its names, read it into a draft."""
