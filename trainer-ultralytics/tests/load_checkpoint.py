"""python load_checkpoint.py CHECKPOINT IMAGE: loads it as a stranger would and prints what it is as JSON."""

import json
import sys

from ultralytics import YOLO


def main() -> None:
    checkpoint, image = sys.argv[1:]
    model = YOLO(checkpoint)
    [result] = model.predict(image, conf=1e-6, imgsz=64, verbose=False, save=False)
    found = {
        "task": model.task,
        "names": [model.names[index] for index in sorted(model.names)],
        "scale": model.model.yaml.get("scale"),
        "boxes": len(result.boxes) if result.boxes is not None else 0,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
