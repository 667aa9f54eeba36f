"""`fetch_version.py dataset|KEY FOLDER`, in a trainer's environment: what a trainer does before it trains."""

import os
import sys
from pathlib import Path

import utils

what, folder = sys.argv[1:]
store = utils.get_storage_client()
if what == "dataset":
    os.environ |= {"CACHE_DIR": f"{folder}/cache", "WORK_DIR": f"{folder}/work"}
    utils.download_dataset(store, utils.load_config())
else:
    utils.download_weights(store, what, Path(folder))
