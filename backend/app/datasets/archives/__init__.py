"""Uploads opened with suspicion: zip and tar, nested one folder deep; nothing is extracted to the disk by its name."""
