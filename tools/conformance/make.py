#!/usr/bin/env python3
"""Makes the conformance vectors: runs every oracle module and writes a manifest and safetensors.

usage: make.py OUT_DIR [--large] [--only ORACLE ...]

Needs the packages of requirements.txt; some of them only without their dependencies, as it says
there. `--large` writes ten times as many cases. Runs on a CPU; the same packages give the same
bytes.
"""

import argparse
import importlib
import os
import pathlib
import pkgutil

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import oracles
from common import Entries

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
parser.add_argument("out")
parser.add_argument("--large", action="store_true")
parser.add_argument("--only", nargs="+", metavar="ORACLE")
options = parser.parse_args()

entries = Entries(options.large)
for module in sorted(info.name for info in pkgutil.iter_modules(oracles.__path__)):
    if options.only and module not in options.only:
        continue
    before = len(entries.entries)
    importlib.import_module(f"oracles.{module}").add(entries)
    print(f"{module}: {len(entries.entries) - before} entries", flush=True)
out = pathlib.Path(options.out)
out.mkdir(parents=True, exist_ok=True)
entries.write(out)
size = sum(file.stat().st_size for file in out.iterdir())
print(
    f"{len(entries.entries)} entries, {sum(e['cases'] for e in entries.entries)} cases, {size} bytes"
)
