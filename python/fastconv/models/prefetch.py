"""Reading batches ahead in a thread, so that they are made while the model trains."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from typing import Any


class _Queue:
    """Batches on their way from the reading thread, at most `size` of them."""

    def __init__(self, batches: Any, size: int) -> None:
        self._batches = batches
        self._size = size
        self._ready: deque[Any] = deque()
        self._changed = threading.Condition()
        self._ended = False  # no more batches will come
        self._stopped = False  # nobody wants more batches
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._read, name="fastconv-read-ahead", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def _read(self) -> None:
        error = None
        try:
            for batch in self._batches:
                with self._changed:
                    self._ready.append(batch)
                    self._changed.notify_all()
                    self._changed.wait_for(self._has_room)
                    if self._stopped:
                        break
        except BaseException as e:
            error = e
        with self._changed:
            self._error, self._ended = error, True
            self._changed.notify_all()

    def _has_room(self) -> bool:
        return self._stopped or len(self._ready) < self._size

    def take(self) -> Any:
        """Return whether there is a batch, and it; raise what reading raised."""
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._ended)
            if self._ready:
                self._changed.notify_all()
                return True, self._ready.popleft()
        error, self._error = self._error, None
        if error is not None:
            try:
                raise error
            finally:
                del error  # which holds this frame
        return False, None

    def stop(self) -> None:
        """End the thread, once the batch that it is making is done."""
        self._stopped = True  # first: an interrupt may come at any moment
        with self._changed:
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join()


def read_ahead(batches: Any, size: int) -> Iterator[Any]:
    """Yield the batches of an iterator in their order, made in a thread up to `size` ahead.

    What making a batch raises is raised where that batch would come. The thread has ended when
    this generator has; it never asks the iterator for more than it gives. 0 makes the batches in
    the caller's thread.
    """
    if size < 1:
        yield from batches
        return
    queue = _Queue(batches, size)
    try:
        queue.start()
        while True:
            found, batch = queue.take()
            if not found:
                return
            yield batch
    finally:
        queue.stop()
