"""Builds the book into _build/html, and only what has to be built.

Chapters whose stored outputs are up to date are not executed (see `stored`). The execution cache that the others have
looks at code cells only, so it is dropped when anything else that a result depends on has changed. Pages are rendered
anew when any text has changed: an incremental build does not repeat the warnings of pages that it leaves alone, and
warnings are errors here.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from stored import COMPUTED_FROM, ROOT, digest

BUILD = ROOT / "_build"
INDEX = BUILD / "html" / "index.html"
WRITTEN_IN = ["book", "_config.yml", "_toc.yml", "CITATION.cff"]


def settings() -> str:
    """This project's settings in the environment: a page shows what they say."""
    return repr(sorted(item for item in os.environ.items() if item[0].startswith("MODUS_")))


def read(stamp: Path) -> str:
    return stamp.read_text(encoding="utf-8") if stamp.exists() else ""


def build() -> int:
    executed, rendered = BUILD / "executed_from.txt", BUILD / "rendered_from.txt"
    code, everything = settings() + digest(COMPUTED_FROM), settings() + digest(COMPUTED_FROM + WRITTEN_IN)
    if INDEX.exists() and read(rendered) == everything:
        return 0

    outdated = [BUILD] if read(executed) != code else [BUILD / "html", BUILD / ".doctrees", rendered]
    for path in outdated:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    BUILD.mkdir(exist_ok=True)
    executed.write_text(code, encoding="utf-8")

    quiet = BUILD / "ipython" / "profile_default" / "ipython_kernel_config.json"
    quiet.parent.mkdir(parents=True, exist_ok=True)
    # kernels warn about their transport, once a chapter
    quiet.write_text('{"IPKernelApp": {"log_level": 50}}', encoding="utf-8")

    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    command = [Path(sys.executable).with_name("jupyter-book"), "build", ".", "-W", "--keep-going", "-n", "-q"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "IPYTHONDIR": str(BUILD / "ipython")}
    failed = subprocess.run(command, cwd=ROOT, env=environment).returncode
    if not failed:
        rendered.write_text(everything, encoding="utf-8")
    return failed


if __name__ == "__main__":
    failed = build()
    print("The book was not built: see the messages above." if failed else f"The book: {INDEX}", flush=True)
    sys.exit(failed)
