"""Answers one image as docs/trainer-contract.md says, without any model. Standard library alone.

An image that begins with `script:` says what to do instead: see below.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

MAGIC = (b"\x89PNG", b"\xff\xd8\xff")


def main() -> int:
    key = os.environ["IMAGE"]
    image = Path(os.environ["STORAGE_PATH"], os.environ["STORAGE_BUCKET"], key)
    if not image.exists():
        return _answer({"image": key, "error": {"code": "IMAGE_MISSING", "message": f"{key} is not in storage"}})
    data = image.read_bytes()
    match data.split(b"\n")[0]:
        case b"script:crash":
            print("RuntimeError: as the script says", file=sys.stderr)
            return 1
        case b"script:garbage":
            print("this is not JSON")
            return 0
        case b"script:half":
            return _answer({"image": key, "count": 0})
        case b"script:environment":
            print(*os.environ, file=sys.stderr)
            return 1
        case b"script:wait":
            signal.pause()
    if not data.startswith(MAGIC):
        return _answer({"image": key, "error": {"code": "IMAGE_INVALID", "message": f"{key} is not an image"}})
    box = {"class_id": 0, "class_name": "zero", "confidence": float(os.environ["CONFIDENCE"]), "box": [1, 2, 3, 4]}
    answer = {"image": key, "task_type": os.environ["TASK_TYPE"], "width": 8, "height": 8, "predictions": [box]}
    return _answer(answer | {"count": 1, "milliseconds": {"inference": 0.1}})


def _answer(answer: dict[str, Any]) -> int:
    print(json.dumps(answer))
    return 1 if "error" in answer else 0


if __name__ == "__main__":
    sys.exit(main())
