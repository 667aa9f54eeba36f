"""The real thing from end to end: a real backend process, real storage, the real launcher and real trainings."""
