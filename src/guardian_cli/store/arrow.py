"""Between Arrow and NumPy by their buffers: pyarrow's own ways import pandas, which takes 0.3 s."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

# NumPy's names for Arrow's types.
_DTYPES = {
    "int8": "i1",
    "int32": "i4",
    "int64": "i8",
    "halffloat": "f2",
    "float": "f4",
    "double": "f8",
}


def numbers(values: NDArray[Any], is_there: NDArray[np.bool_] | None = None) -> Any:
    """An array of the values' own type; what is not there is null."""
    import numpy as np
    import pyarrow as pa

    values = np.ascontiguousarray(values)
    missing = None
    if is_there is not None and not is_there.all():
        missing = pa.py_buffer(np.packbits(is_there, bitorder="little"))
    kind = pa.from_numpy_dtype(values.dtype)
    # Arrow has a bit for each flag.
    data = np.packbits(values, bitorder="little") if values.dtype == np.bool_ else values
    return pa.Array.from_buffers(kind, len(values), [missing, pa.py_buffer(data)])


def floats(values: Sequence[float | None]) -> Any:
    """An array of float64, null where there is none."""
    import numpy as np

    is_there = np.array([value is not None for value in values], np.bool_)
    return numbers(np.array(values, np.float64), is_there)


def words(values: Sequence[str | None]) -> Any:
    """An array of strings, null where there is none."""
    import numpy as np
    import pyarrow as pa

    # A file name's stray bytes must not keep a source out of the store.
    data = [(value or "").encode("utf-8", "backslashreplace") for value in values]
    # Arrow's layout of strings: their bytes end to end, and where each begins.
    ends = np.cumsum([0, *map(len, data)]).astype(np.int32)
    is_there = np.array([value is not None for value in values], np.bool_)
    buffers = [
        pa.py_buffer(np.packbits(is_there, bitorder="little")),
        pa.py_buffer(ends),
        pa.py_buffer(b"".join(data)),
    ]
    return pa.Array.from_buffers(pa.string(), len(values), buffers)


def one_list(items: Any) -> Any:
    """An array of one list, which holds all items."""
    import numpy as np
    import pyarrow as pa

    return pa.ListArray.from_arrays(numbers(np.array([0, len(items)], np.int32)), items)


def vectors(rows: NDArray[Any]) -> Any:
    """An array of the rows (N, D), each of D numbers."""
    import pyarrow as pa

    return pa.FixedSizeListArray.from_arrays(numbers(rows.ravel()), rows.shape[1])


def to_numpy(array: Any) -> NDArray[Any]:
    """The values of an array of numbers or flags, as float64 with NaN where any are null."""
    import numpy as np

    # A slice shares the buffers of what it was cut from, and begins somewhere inside.
    begin, end = array.offset, array.offset + len(array)
    missing, data = array.buffers()
    if str(array.type) == "bool":
        values = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")[begin:end] > 0
    else:
        values = np.frombuffer(data, _DTYPES[str(array.type)])[begin:end]
    if not array.null_count:
        return values
    is_there = np.unpackbits(np.frombuffer(missing, np.uint8), bitorder="little")[begin:end] > 0
    return np.where(is_there, values.astype(np.float64), np.nan)
