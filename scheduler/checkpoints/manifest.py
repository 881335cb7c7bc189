"""What must be known of a run to go on with it: job, data and policy, in ``run.json`` beside its checkpoints."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

import scheduler
from scheduler.checkpoints.lock import alone_in
from scheduler.checkpoints.storage import CHECKPOINTS, JOURNALS, MANIFEST_FILE, LocalFolder, Url, storage_at
from scheduler.errors import UserError
from scheduler.job import Job
from scheduler.run import Keeping
from scheduler.section import first_mistake, is_url
from workers.environment import environment

FOLDER = "checkpoints"
LARGEST_BYTES = 1 << 20


class Manifest(BaseModel):
    """A run as it was begun.

    Attributes
    ----------
    run
        Its own mark, which its checkpoints carry.
    job
        With all its fields.
    search
        Where modules of the user's own are looked for.
    submission
        The token of the job's submission, where the scheduler service's driver began it.
    numeric_class, apportion
        With whom the server's bits agree, and the version of this program.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    apportion_run: Literal[1] = 1
    run: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    job: dict[str, Any]
    data_sha256: str
    search: tuple[str, ...] = ()
    submission: str = ""
    numeric_class: str = ""
    apportion: str = ""

    @staticmethod
    def of(job: Job, data_sha256: str, search: Sequence[Path], submission: str = "") -> Manifest:
        """Return that of a run which begins now."""
        return Manifest(
            run=secrets.token_hex(8),
            job=job.model_dump(mode="json"),
            data_sha256=data_sha256,
            search=tuple(map(str, search)),
            submission=submission,
            numeric_class=environment().numeric_class,
            apportion=scheduler.__version__,
        )

    def job_with(self, **fields: Any) -> Job:
        """Return the job with other fields, none of which changes what is learnt; raises ``UserError``."""
        try:
            return Job.model_validate({**self.job, **fields})
        except ValidationError as error:
            details = error.errors(include_url=False)
            listed = "\n".join(f"  job.{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in details)
            raise UserError(f"the job in {MANIFEST_FILE} is none:\n{listed}") from None


@dataclass(frozen=True)
class Kept:
    """The place of a run's checkpoints: the folder in its output, and where else they lie if that is asked for."""

    folder: LocalFolder
    elsewhere: LocalFolder | Url | None
    where: str

    @staticmethod
    def of(job: Job) -> Kept:
        """Return that of a job; raises ``UserError`` for an address that cannot be used."""
        return Kept._at(job.output / FOLDER, job.recovery.checkpoints)

    @staticmethod
    def begun(output: str, job: Job) -> Kept:
        """Return that of a run that was begun in another output, or of which only the address is known."""
        if is_url(output):
            return Kept._at(job.output / FOLDER, output)
        return Kept._at(Path(output) / FOLDER, job.recovery.checkpoints)

    @staticmethod
    def _at(folder: Path, other: str | None) -> Kept:
        if other is None:
            return Kept(LocalFolder(folder), None, str(folder.resolve()))
        return Kept(LocalFolder(folder), storage_at(other), other)

    @contextmanager
    def alone(self, output: Path) -> Iterator[None]:
        """Keep other runs out of a run's output, and of the folders of its checkpoints; an address is not locked.

        Raises
        ------
        UserError
            If another run is there.
        """
        folders = [output, self.folder.path.parent]
        if isinstance(self.elsewhere, LocalFolder):
            folders.append(self.elsewhere.path)
        with ExitStack() as held:
            for folder in dict.fromkeys(path.resolve() for path in folders):
                held.enter_context(alone_in(folder))
            yield

    def keeping(self, job: Job) -> Keeping:
        """Return what a server is told of it."""
        return Keeping(self.where, job.recovery.every_s, job.recovery.keep)

    def begin(self, manifest: Manifest) -> None:
        """Forget whatever run was here before, and write down this one; raises ``RunFailedError`` if it cannot be."""
        self.clear()
        self.write(manifest)

    def write(self, manifest: Manifest) -> None:
        """Write down what must be known of a run, in both places."""
        text = json.dumps(manifest.model_dump(mode="json"), indent=2).encode() + b"\n"
        for place in self._places:
            place.write(MANIFEST_FILE, [text])

    @property
    def _places(self) -> list[LocalFolder | Url]:
        return [self.folder] if self.elsewhere is None else [self.elsewhere, self.folder]

    def clear(self) -> None:
        """Remove what runs have written there."""
        for place in self._places:
            place.clear()

    @property
    def has_journal(self) -> bool:
        """Whether calls were written down that need not be computed again."""
        return any(self.folder.read(JOURNALS.name(number)) for number in JOURNALS.numbers(self.folder.names()))

    @property
    def num_checkpoints(self) -> int:
        """How many checkpoints there are of an unfinished run, whichever it is; without its manifest they are none."""
        found = [place.names() for place in self._places]
        return sum(len(CHECKPOINTS.numbers(names)) for names in found if MANIFEST_FILE in names)


def read_manifest(output: str) -> Manifest:
    """Read what is known of the run in an output folder, or at the address of its checkpoints.

    Raises
    ------
    UserError
        If there is none, or it is damaged, or of another version.
    """
    place = storage_at(output if is_url(output) else str(Path(output) / FOLDER))
    where = f"{output}/{MANIFEST_FILE}" if is_url(output) else str(Path(output) / FOLDER / MANIFEST_FILE)
    blob = place.read(MANIFEST_FILE)
    if blob is None:
        raise UserError(
            f"{output}: no run to go on with: {where} is not there, which a run writes when it begins and removes when "
            "it has ended"
        )
    if len(blob) > LARGEST_BYTES:
        raise UserError(f"{where}: over {LARGEST_BYTES:,} bytes")
    try:
        return Manifest.model_validate_json(blob)
    except ValidationError as error:
        raise UserError(f"{where}: not a run: {first_mistake(error)}") from None
