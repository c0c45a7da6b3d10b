"""The zip archives that .keras files are: members in order, and read without trust."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any, BinaryIO

from fastdl.errors import KerasFileError
from fastdl.models.tensor_file import LONGEST

CONFIG, METADATA, WEIGHTS, ASSETS = "config.json", "metadata.json", "model.weights.h5", "assets/"
MOST_MEMBERS = 2**16
SMALL = 64 << 20  # bytes that all members of a small archive may unpack to; of a large one four times its own


def packed(members: Mapping[str, bytes]) -> bytes:
    """The archive, nothing in it compressed, as Keras writes it."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


class Archive:
    """Members by name, of a file that nobody vouches for. KerasFileError for bombs, for names that stand twice or lead
    out of the archive, and for what is no archive."""

    def __init__(self, file: BinaryIO, size: int, name: str) -> None:
        self.name = name
        try:
            self._archive = zipfile.ZipFile(file)
            infos = self._archive.infolist()
        except MemoryError:
            raise
        except Exception as error:  # whatever the library makes of a damaged file
            raise KerasFileError(f"{name}: no .keras file, which is a zip archive ({error})") from None
        self.members = {info.filename: info for info in infos}
        if len(infos) > MOST_MEMBERS or len(self.members) < len(infos):
            raise KerasFileError(f"{name}: its members are more than {MOST_MEMBERS:,}, or have one name")
        for member in self.members:
            if member.startswith("/") or "\\" in member or ".." in member.split("/"):
                raise KerasFileError(f"{name}: {member!r} leads out of the archive")
        total, room = sum(info.file_size for info in infos), max(SMALL, 4 * size)
        if total > room:
            raise KerasFileError(
                f"{name}: {size:,} bytes that claim to unpack to {total:,}, a decompression bomb: at most {room:,}"
            )

    def read(self, member: str) -> bytes:
        """The bytes of a member. KerasFileError if it is not there, or is not what the archive says of it."""
        if (info := self.members.get(member)) is None:
            raise KerasFileError(f"{self.name}: there is no {member} in it")
        try:
            with self._archive.open(info) as file:
                content = file.read(info.file_size + 1)
        except MemoryError:
            raise
        except Exception as error:
            raise KerasFileError(f"{self.name}: {member} cannot be read ({error})") from None
        if len(content) != info.file_size:
            raise KerasFileError(f"{self.name}: {member} is not of the size that the archive claims")
        return content

    def json(self, member: str) -> dict[str, Any]:
        """A member as JSON. KerasFileError unless it is an object."""
        if member in self.members and self.members[member].file_size > LONGEST:
            raise KerasFileError(f"{self.name}: {member} is longer than any config, {LONGEST:,} bytes")
        try:
            value = json.loads(self.read(member))
        except RecursionError:
            raise KerasFileError(f"{self.name}: {member} is nested too deeply") from None
        except UnicodeDecodeError as error:
            raise KerasFileError(f"{self.name}: {member} is not JSON: {error}") from None
        except json.JSONDecodeError as error:
            raise KerasFileError(f"{self.name}: {member} is not JSON: {error}") from None
        if not isinstance(value, dict):
            raise KerasFileError(f"{self.name}: {member} must hold an object, not a {type(value).__name__}")
        return value

    def assets(self) -> dict[str, str]:
        """Which members are assets, by their path in the folder of assets."""
        return {
            member.removeprefix(ASSETS): member
            for member in self.members
            if member.startswith(ASSETS) and not member.endswith("/")
        }
