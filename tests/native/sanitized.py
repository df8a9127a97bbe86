"""Run the native tests under the address and undefined-behaviour sanitizers: `make sanitize`.

    python tests/native/sanitized.py SITE [pytest arguments]

SITE is a folder into which statewise was installed with STATEWISE_SANITIZE=ON. An editable
installation would be found before it, so its finder is taken out first.
"""

import os
import subprocess
import sys
from pathlib import Path


def main() -> int:
    site, arguments = Path(sys.argv[1]).resolve(), sys.argv[2:]
    if "LD_PRELOAD" not in os.environ:
        compiler = os.environ.get("CXX", "c++")
        libraries = [
            subprocess.run(
                [compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=True
            ).stdout.strip()
            for name in ("libasan.so", "libubsan.so")
        ]
        environment = os.environ | {
            "LD_PRELOAD": " ".join(libraries),
            # Python and torch give memory back to nobody when they end
            "ASAN_OPTIONS": "detect_leaks=0",
            "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
        }
        return subprocess.run([sys.executable, *sys.argv], env=environment, check=False).returncode
    sys.meta_path[:] = [
        finder for finder in sys.meta_path if "editable" not in type(finder).__module__
    ]
    sys.path.insert(0, str(site))
    import pytest

    import statewise

    assert Path(statewise.__file__).is_relative_to(site), statewise.__file__
    folder = str(Path(__file__).parent)
    chosen = ["-p", "no:cacheprovider", "--deselect", f"{folder}/test_kernels.py", folder]
    return int(pytest.main([*chosen, *arguments]))


if __name__ == "__main__":
    sys.exit(main())
