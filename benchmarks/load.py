"""Load on the ingestion endpoint, from a process of its own: `python load.py < plan.json` prints JSON.

One thread a connection, each posting for one job as its trainer would: the next batch when the last is acknowledged.
"""

import http.client
import json
import sys
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

EPOCH_EVENTS = 50


@dataclass
class Connection:
    """Posts for one job; `latencies` are of the batches that were sent after the warm-up."""

    callback_url: str
    token: str
    attempt: int
    batch: int
    sequence: int = 0
    latencies: list[float] = field(default_factory=list)
    error: str | None = None

    def run(self, warm_until: float, until: float) -> None:
        try:
            self._post_until(warm_until, until)
        except Exception as error:  # reported by the main thread, which waits for all
            self.error = repr(error)

    def _post_until(self, warm_until: float, until: float) -> None:
        address = urlsplit(self.callback_url)
        connection = http.client.HTTPConnection(address.netloc, timeout=60)
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        while (sent := time.monotonic()) < until:
            connection.request("POST", f"{address.path}/events", self._body(), headers)
            response = connection.getresponse()
            self._check(response.status, response.read())
            if sent >= warm_until:
                self.latencies.append(time.monotonic() - sent)
        connection.close()

    def _body(self) -> bytes:
        events = [self._event() for _ in range(self.batch)]
        instance = f"load-{self.token[:8]}"
        return json.dumps({"attempt": self.attempt, "instance": instance, "events": events}).encode()

    def _event(self) -> dict[str, Any]:
        self.sequence += 1
        event: dict[str, Any] = {"sequence": self.sequence, "time": datetime.now(UTC).isoformat()}
        if self.sequence == 1:
            return event | {"type": "status", "status": "running"}
        epoch, step = divmod(self.sequence, EPOCH_EVENTS)
        if self.sequence % 2:
            return event | {
                "type": "progress",
                "phase": "train",
                "epoch": epoch + 1,
                "step": step,
                "steps": EPOCH_EVENTS,
            }
        values = {name: 1.0 / self.sequence for name in ("train/box_loss", "train/cls_loss", "train/dfl_loss", "lr")}
        return event | {"type": "metrics", "epoch": epoch + 1, "step": step, "values": values}

    def _check(self, status: int, body: bytes) -> None:
        if status != 200:
            raise RuntimeError(f"the backend answered {status}: {body[:500]!r}")
        answer = json.loads(body)
        if answer["acknowledged"] != self.sequence or answer["rejected"]:
            raise RuntimeError(f"sent up to {self.sequence}, the backend answered {body[:500]!r}")


def main() -> int:
    plan = json.load(sys.stdin)
    connections = [Connection(**target, batch=plan["batch"]) for target in plan["targets"]]
    warm_until = time.monotonic() + plan["warm_up_seconds"]
    until = warm_until + plan["seconds"]
    threads = [threading.Thread(target=each.run, args=(warm_until, until)) for each in connections]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    errors = [each.error for each in connections if each.error]
    latencies = sorted(latency for each in connections for latency in each.latencies)
    json.dump({"latencies": latencies, "sent": [each.sequence for each in connections], "errors": errors}, sys.stdout)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
