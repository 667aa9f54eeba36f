"""What a dataset is: archives in, the canonical archive and its index out. Files to files: no database, no storage.

`python -m app.datasets FOLDER` runs one import in a process of its own (`work.py` says what lies in FOLDER), so that a
damaged image or a bomb costs that process alone.
"""
