"""What this installation is and what its machine is busy with."""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from app import __version__, slots
from app.models import Attempt, Job
from app.services import access
from app.settings import Settings
from app.words import ACTIVE


@dataclass(frozen=True)
class Slot:
    name: str
    job_id: int | None


@dataclass(frozen=True)
class System:
    version: str
    environment: str
    installation_id: str
    slots: list[Slot]
    mlflow_url: str | None
    docs_url: str


def describe(session: Session, settings: Settings) -> System:
    holders = _holders(session)
    mlflow = settings.mlflow_tracking_uri
    return System(
        version=__version__,
        environment=settings.environment,
        installation_id=access.installation_id(session),
        slots=[Slot(name, holders.get(name)) for name in slots.slots_of_machine(settings.slots)],
        mlflow_url=mlflow if mlflow.startswith("http") else None,
        docs_url=f"{settings.url}/docs",
    )


def _holders(session: Session) -> dict[str, int]:
    """Which job holds a slot: the newest attempt of each job whose trainer may run."""
    running = select(Attempt.job_id, Attempt.slots).join(Job, Job.id == Attempt.job_id)
    query = running.where(Job.status.in_(ACTIVE), Attempt.number == Job.attempt, Attempt.ended_at.is_(None))
    return {slot: row.job_id for row in session.execute(query) for slot in row.slots}
