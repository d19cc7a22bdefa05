"""With TAILRACE_COMPILE=1 the wheel carries the hot path compiled by mypyc; without it, the same source, plain."""

import os
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

HOT = [
    "connectors/chunk.py",
    "connectors/mysql/changes.py",
    "connectors/mysql/charsets.py",
    "connectors/mysql/coordinates.py",
    "connectors/mysql/decoder.py",
    "connectors/mysql/envelope.py",
    "connectors/mysql/events.py",
    "connectors/mysql/executed.py",
    "connectors/mysql/geometry.py",
    "connectors/mysql/integers.py",
    "connectors/mysql/json.py",
    "connectors/mysql/json_diff.py",
    "connectors/mysql/packets.py",
    "connectors/mysql/place.py",
    "connectors/mysql/resultset.py",
    "connectors/mysql/rows.py",
    "connectors/mysql/scalars.py",
    "connectors/mysql/structure.py",
    "connectors/mysql/temporal.py",
    "connectors/mysql/vector.py",
    "connectors/mysql/xa.py",
    "connectors/postgres/arrays.py",
    "connectors/postgres/decoder.py",
    "connectors/postgres/envelope.py",
    "connectors/postgres/pgoutput.py",
    "connectors/postgres/scalars.py",
    "connectors/postgres/temporal.py",
    "connectors/snapshot.py",
    "schema/change.py",
    "schema/encoder.py",
    "schema/reader.py",
    "schema/texts.py",
    "schema/varint.py",
]
"""What every row passes through, from the log's bytes to Avro's."""


class CompileHook(BuildHookInterface[Any]):
    """Hatchling finds it by `[tool.hatch.build.hooks.custom]`."""

    @property
    def _asked(self) -> bool:
        return os.environ.get("TAILRACE_COMPILE") == "1" and self.target_name == "wheel"

    def dependencies(self) -> list[str]:
        """The types of what the hot path imports come from the packages themselves."""
        return (
            ["mypy>=1.18", "setuptools>=70", "types-PyMySQL", *self.metadata.core.dependencies] if self._asked else []
        )

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if not self._asked or version == "editable":
            return
        from mypyc.build import mypycify
        from setuptools import Distribution

        folder = Path(tempfile.mkdtemp(prefix="tailrace-compile-"))
        modules = mypycify(["--strict", *HOT], opt_level="3", target_dir=str(folder / "c"))
        command = Distribution({"name": "tailrace", "ext_modules": modules}).get_command_obj("build_ext")
        command.build_lib, command.build_temp = str(folder / "lib"), str(folder / "temp")
        command.ensure_finalized()
        command.run()
        for built in (folder / "lib").rglob("*.so"):
            build_data["force_include"][str(built)] = str(built.relative_to(folder / "lib"))
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
