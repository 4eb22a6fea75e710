"""Reads a run's event files with TensorBoard's own reader and compares them with the run's logs.

    pip install tensorboard
    python tests/peers/tensorboard_reads.py runs/synthetic-av

Exit code 0 when every stage that was trained in the run has a file, TensorBoard reads each of its records, and loss and
validation are those of metrics.jsonl.
"""

import json
import pathlib
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader


def main(run):
    stages = 0
    for folder in sorted((run / "tensorboard").iterdir()):
        stage, seed, key = folder.name.rsplit(".", 2)
        logs = list((run / "stages").glob(f"{stage}.{seed}.{key}*/metrics.jsonl"))
        assert len(logs) == 1, f"{folder.name}: {len(logs)} logs"
        rows = [json.loads(line) for line in logs[0].read_text().splitlines()]
        file = folder / "events.out.tfevents.umt"
        events = list(EventFileLoader(str(file)).Load())
        assert events[0].file_version == "brain.Event:2", events[0]
        assert len(events) == len(rows) + 1, f"{file}: {len(events) - 1} epochs, the log has {len(rows)}"

        board = EventAccumulator(str(folder))
        board.Reload()
        tags = board.Tags()["scalars"]
        loss = board.Scalars("train/loss")
        assert [event.step for event in loss] == [row["epoch"] for row in rows], folder.name
        for event, row in zip(loss, rows):
            assert abs(event.value - row["loss"]) <= 1e-6 * max(1.0, abs(row["loss"])), (folder.name, event, row)
        for name in rows[0]["log"]:
            assert f"train/{name}" in tags, (folder.name, name, tags)
        validated = [row for row in rows if row["validation"]]
        if validated:
            top1 = board.Scalars("validation/top1")
            assert [event.step for event in top1] == [row["epoch"] for row in validated], folder.name
            for event, row in zip(top1, validated):
                assert abs(event.value - row["validation"]["top1"]) < 1e-6, (folder.name, event, row)
        stages += 1
        print(f"{folder.name}: {len(rows)} epochs, {len(tags)} curves")
    assert stages > 0, "no event file"
    print(f"{stages} stages, as TensorBoard reads them")


main(pathlib.Path(sys.argv[1]))
