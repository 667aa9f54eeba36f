"""Sample datasets from real handwriting: scikit-learn's bundled digits, placed on canvases, for all five task types."""
