"""What is around every run, fresh or resumed: its first and last event, and its outcome in the journal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from pgdolly.domain.errors import PgdollyError
from pgdolly.engine.events import Listener, RunEnded, RunStarted
from pgdolly.engine.executor import guarded
from pgdolly.engine.journal import Journal


@contextmanager
def conducted(journal: Journal, emit: Listener, *, resumed: bool = False) -> Iterator[Listener]:
    """Conduct a run: the block plans and executes its parts, and emits to the listener that it is given.

    When the block ends, the journal gets its outcome and is closed: "finished", or "failed" if an
    exception came, or "interrupted" if that was no error (a cancellation, Ctrl-C). A block that pauses
    or abandons the run says so itself: `journal.end("paused")`.
    """
    emit = guarded(emit, journal)
    run = journal.run
    began = time.monotonic()
    with journal:
        emit(RunStarted(run_id=run.run_id, operation=run.operation, target=run.target, resumed=resumed))
        try:
            yield emit
        except Exception as error:
            journal.end("failed", str(error) if isinstance(error, PgdollyError) else repr(error))
            raise
        except BaseException:
            journal.end("interrupted")
            raise
        else:
            journal.end("finished")
        finally:
            state, error_text = journal.run.state.value, journal.run.error
            emit(
                RunEnded(run_id=run.run_id, outcome=state, seconds=time.monotonic() - began, error=error_text)
            )
