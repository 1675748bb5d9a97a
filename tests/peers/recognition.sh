#!/usr/bin/env bash
# Sets up a virtual environment with the packages of tests/peers/recognition.py, some 400 MB.
# `cargo bench --bench recognition` calls it.
#
#   tests/peers/recognition.sh FOLDER
#
# The environment is made again when the requirements change or when it is broken.
set -euo pipefail

venv=$1
requirements=$(dirname "${BASH_SOURCE[0]}")/recognition.txt
if cmp -s "$requirements" "$venv/installed.txt" \
    && "$venv/bin/python" -c 'import cv2, faiss, onnx, onnxruntime'; then
    exit
fi
echo "making $venv" >&2
python3 -m venv --clear "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
    --only-binary :all: -r "$requirements" >&2
cp "$requirements" "$venv/installed.txt"
