"""A version written in somebody else's format: YOLO, COCO, Pascal VOC."""
