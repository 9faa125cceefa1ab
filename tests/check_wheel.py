"""Build the wheel, install it beside the development environment's packages, and try it from an empty folder."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def run(*command: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    result = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=env, capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{result.stdout}{result.stderr}")
    return result.stdout


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # The wheel is built from the source archive, so an archive that lacks a file fails here.
        run(sys.executable, "-m", "build", "--outdir", folder / "dist", ROOT)
        wheel = next((folder / "dist").glob("*.whl"))
        names = set(zipfile.ZipFile(wheel).namelist())
        expected = {
            "/".join(("tam_edit", *path.relative_to(ROOT).parts[0 if top != "tam_edit" else 1 :]))
            for top in ("tam_edit", "models", "pipelines")
            for path in (ROOT / top).rglob("*")
            if path.suffix in {".py", ".json", ".js", ".css", ".html", ".svg"} and "__pycache__" not in path.parts
        }
        if missing := sorted(expected - names):
            sys.exit(f"the wheel lacks {missing}")
        if stray := sorted(
            {part.split("/")[0] for part in names}
            - {"tam_edit"}
            - {part.split("/")[0] for part in names if ".dist-info/" in part}
        ):
            sys.exit(f"the wheel would occupy {stray} in site-packages")

        # The dependencies are those of this environment; only the package itself comes from the wheel.
        venv.create(folder / "venv", with_pip=True)
        python = folder / "venv" / "bin" / "python"
        site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
        ours = Path(run(sys.executable, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
        run(python, "-m", "pip", "install", "--quiet", "--no-deps", wheel)
        (site / "dependencies.pth").write_text(f"{ours}\n")
        empty = folder / "empty"
        empty.mkdir()
        env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        where = run(python, "-c", "import tam_edit.models.classic as m; print(m.__file__)", cwd=empty, env=env).strip()
        if not Path(where).is_relative_to(site):
            sys.exit(f"the wheel's models were not found, but {where}")
        print(run(folder / "venv" / "bin" / "tam-edit", "--version", cwd=empty, env=env).strip())
        print(f"wheel and sdist are whole: {len(names)} files, tried from an empty folder")


if __name__ == "__main__":
    main()
