"""An error says the same in another process."""

import pickle

import pytest

from stream.errors import Conflict, NoLedger, NotFound, StorageFull, StreamError, Unavailable


@pytest.mark.parametrize(
    "error",
    [
        NotFound("task", 7),
        NoLedger("sqlite:///here.db"),
        Conflict("it has ended", retry_after_s=3, field="base"),
        StorageFull("/data"),
        Unavailable("away", retry_after_s=5),
    ],
)
def test_an_error_comes_out_of_a_pickle_as_it_was(error: StreamError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))
