"""Batches are made in a thread of their own: order, errors, and the thread's end."""

import threading
import time
import warnings

import numpy as np
import pytest

import fastconv as keras
from fastconv.models.prefetch import read_ahead


def reading_threads():
    return [t for t in threading.enumerate() if t.name == "fastconv-read-ahead"]


@pytest.fixture(autouse=True)
def no_thread_stays():
    yield
    assert not reading_threads()


def small_model():
    model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


class Numbered(keras.utils.PyDataset):
    """Batch i is full of i; notes which thread makes it, and the epochs' ends."""

    def __init__(self, count=6, fail_at=None, **kwargs):
        super().__init__(**kwargs)
        self.count, self.fail_at = count, fail_at
        self.made, self.threads, self.events = [], set(), []

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        if index == self.fail_at:
            raise RuntimeError(f"batch {index} is broken")
        self.made.append(index)
        self.threads.add(threading.current_thread())
        return np.full((2, 3), index, np.float32), np.full((2, 1), index, np.float32)

    def on_epoch_end(self):
        self.events.append(("end", len(self.made), threading.current_thread()))


@pytest.mark.parametrize("size", [0, 1, 3, 100])
def test_order_and_number(size):
    assert list(read_ahead(iter(range(20)), size)) == list(range(20))
    assert list(read_ahead(iter(()), size)) == []


def test_never_more_than_size_wait():
    made = []

    def numbers():
        for i in range(50):
            made.append(i)
            yield i

    for i in read_ahead(numbers(), 3):
        time.sleep(0.001)
        # Three wait, one is being made or waits for room, one is in use.
        assert len(made) <= i + 1 + 3 + 1


def test_batches_are_made_while_the_caller_works():
    made = threading.Event()

    def two():
        yield 1
        made.set()
        yield 2

    batches = read_ahead(two(), 2)
    assert next(batches) == 1
    assert made.wait(10)
    assert list(batches) == [2]


def test_errors_come_in_their_place():
    def broken():
        yield 1
        yield 2
        raise KeyError("third")

    got = []
    with pytest.raises(KeyError, match="third"):
        for x in read_ahead(broken(), 10):
            time.sleep(0.01)  # the error is there long before
            got.append(x)
    assert got == [1, 2]


def test_leaving_early_ends_the_thread():
    def endless():
        while True:
            yield 0

    for i, _ in enumerate(read_ahead(endless(), 4)):
        if i == 3:
            break
    assert not reading_threads()


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_fit_reads_data_sets_ahead(workers):
    data = Numbered(workers=workers, max_queue_size=2)
    small_model().fit(data, epochs=2, shuffle=False, verbose=0)
    assert data.made == [*range(6), *range(6)]
    own = threading.current_thread()
    assert (data.threads == {own}) == (workers == 0) and (own in data.threads) == (workers == 0)
    assert data.events == [("end", 6, own), ("end", 12, own)]


def test_losses_are_those_of_arrays():
    rng = np.random.default_rng(0)
    x, y = rng.random((40, 3), np.float32), rng.random((40, 1), np.float32)

    def batches():
        while True:
            for i in range(0, 40, 8):
                yield x[i : i + 8], y[i : i + 8]

    histories = []
    for data in (
        {"x": x, "y": y, "batch_size": 8, "shuffle": False},
        {"x": batches(), "steps_per_epoch": 5},
    ):
        keras.utils.set_random_seed(0)
        histories.append(small_model().fit(**data, epochs=3, verbose=0).history["loss"])
    assert histories[0] == histories[1]


def test_fit_asks_generators_for_no_more_than_it_trains_on():
    drawn = []

    def batches():
        while True:
            drawn.append(len(drawn))
            yield np.ones((2, 3), np.float32), np.ones((2, 1), np.float32)

    generator = batches()
    model = small_model()
    model.fit(generator, steps_per_epoch=5, epochs=2, verbose=0)
    assert len(drawn) == 10
    model.evaluate(generator, steps=3, verbose=0)
    model.predict(generator, steps=2, verbose=0)
    assert len(drawn) == 15
    next(generator)  # not in use by any thread


def test_errors_reach_the_caller_of_fit():
    data = Numbered(fail_at=3)
    with pytest.raises(RuntimeError, match="batch 3 is broken") as caught:
        small_model().fit(data, shuffle=False, verbose=0)
    assert not reading_threads()
    assert any("__getitem__" in str(entry) for entry in caught.traceback)
    with pytest.raises(ValueError, match="the same number of samples"):
        small_model().fit(iter([(np.ones((2, 3)), np.ones((3, 1)))]), verbose=0)


def test_an_error_of_the_trainer_ends_the_thread():
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        small_model().fit(Numbered(count=1000), callbacks=[Stop()], verbose=0)
    assert not reading_threads()


def test_stop_training_in_an_epoch_ends_the_thread():
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = batch == 2

    data = Numbered(count=10_000, max_queue_size=4)
    small_model().fit(data, epochs=3, callbacks=[Stop()], verbose=0)
    assert not reading_threads()
    assert len(data.made) <= 3 + 4 + 1


def test_data_that_runs_out_warns_in_the_training_thread():
    batch = (np.ones((2, 3), np.float32), np.ones((2, 1), np.float32))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        small_model().fit(iter([batch] * 3), steps_per_epoch=5, epochs=1, verbose=0)
    assert any("gave 3 batches" in str(w.message) for w in caught)


def test_data_sets_that_do_not_call_the_base_class():
    class Bare(keras.utils.PyDataset):
        def __init__(self):
            pass

        def __len__(self):
            return 2

        def __getitem__(self, index):
            return np.ones((2, 3), np.float32), np.ones((2, 1), np.float32)

    assert len(small_model().fit(Bare(), epochs=2, verbose=0).history["loss"]) == 2
