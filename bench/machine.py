"""What a figure was measured on."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kzoo.files import write_json, write_text
from kzoo.versions import installed_versions

RESULTS = Path(__file__).parent / "results"
# The widest that a processor has says more of its speed than a name that virtual machines share.
_INSTRUCTIONS = {
    "amx_int8": "AMX",
    "avx512_vnni": "AVX-512 VNNI",
    "avx512f": "AVX-512",
    "avx2": "AVX2",
    "asimd": "NEON",
}


def describe_machine() -> dict[str, Any]:
    """Processor with its widest instructions, cores and versions."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    first: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        first.setdefault(name.strip(), value.strip())
    flags = (first.get("flags") or first.get("Features") or "").split()
    widest = next((f", {text}" for flag, text in _INSTRUCTIONS.items() if flag in flags), "")
    return {
        "processor": (first.get("model name") or platform.processor()) + widest,
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": installed_versions(),
    }


def keep_results(name: str, command: str, rows: list[dict[str, Any]]) -> str:
    """Write the rows as JSON and as a Markdown table; gives the table back.

    Rows may name their `processor` themselves, see `earlier_rows`; the heading does not then.
    """
    RESULTS.mkdir(exist_ok=True)
    machine = describe_machine()
    write_json(RESULTS / f"{name}.json", {"command": command, "machine": machine, "rows": rows})
    columns = list(rows[0])
    table = [columns, ["---"] * len(columns), *([str(row[column]) for column in columns] for row in rows)]
    text = "\n".join("| " + " | ".join(cells) + " |" for cells in table)
    versions = json.dumps(machine["versions"])
    processor = "" if "processor" in columns else f" of {machine['processor']}"
    heading = f"`{command}` on {machine['cores']} cores{processor}; versions: {versions}\n"
    write_text(RESULTS / f"{name}.md", f"{heading}\n{text}\n")
    return text


def with_earlier(
    name: str, rows: Sequence[dict[str, Any]], order: Sequence[str], key: Sequence[str] = ("model",)
) -> list[dict[str, Any]]:
    """These rows and others out of `earlier_rows`, by the models' order.

    Args:
        name: Of the results.
        rows: As they are measured now.
        order: The models.
        key: Columns that tell rows apart: one that was measured before stays if none of its key is among `rows`.
    """
    measured = {tuple(row[column] for column in key) for row in rows}
    others = [row for row in earlier_rows(name) if tuple(row[column] for column in key) not in measured]
    return [row for model in order for row in [*rows, *others] if row["model"] == model]


def earlier_rows(name: str) -> list[dict[str, Any]]:
    """What the same machine and versions gave before; what another processor gave, too, where each row names its own.

    Accuracies, bytes and ratios taken side by side can stand beside those of other processors, times cannot.
    """
    file = RESULTS / f"{name}.json"
    if not file.is_file():
        return []
    earlier = json.loads(file.read_text())
    rows: list[dict[str, Any]] = earlier["rows"]
    told = {"processor"} if all("processor" in row for row in rows) else set()
    machine = describe_machine()
    same = all(earlier["machine"].get(key) == value for key, value in machine.items() if key not in told)
    return rows if same else []
