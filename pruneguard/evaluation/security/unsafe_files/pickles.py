"""Pickles are programs. This reads them without running them: only what a pickle imports can do anything."""

import io
import pickletools
from collections.abc import Iterator

_STORAGES = ("BFloat16", "Bool", "Byte", "Char", "Double", "Float", "Half", "Int", "Long", "Short")
_TYPES = ("bfloat16", "bool", "float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8")

HARMLESS = frozenset(
    {
        "_codecs.encode",
        "collections.OrderedDict",
        "collections.defaultdict",
        *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
        "numpy.dtype",
        "numpy.ndarray",
        "torch.Size",
        "torch.device",
        *(f"torch._utils._rebuild_{what}" for what in ("parameter", "qtensor", "sparse_tensor", "tensor_v2")),
        "torch.storage.TypedStorage",
        "torch.storage.UntypedStorage",
        *(f"torch.{kind}Storage" for kind in _STORAGES),
        *(f"torch.{kind}" for kind in _TYPES),
    }
)
"""What stored weights are made of; `torch.load(weights_only=True)` admits it too. Anything else can run code."""

_LEGACY = 5
"""Pickles at the head of an old torch file: magic number, protocol, system, object, keys. Then the bare weights."""


def objections(content: bytes, *, surely: bool = True) -> Iterator[str]:
    """What each import would fetch, and where reading breaks off.

    A file may hold several pickles one after the other. Unless it is `surely` a pickle, bytes that break off before
    anything was imported are taken for bare numbers.
    """
    stream = io.BytesIO(content)
    for _ in range(_LEGACY):
        start = stream.tell()
        try:
            for name in _imports(stream):
                surely = True
                if name not in HARMLESS:
                    yield f"imports {name}"
        except ValueError as error:
            if surely:
                yield f"breaks off as a pickle after byte {start}: {error}; what stands before would run all the same"
            return
        surely = True
        if stream.tell() == len(content):
            return


def _imports(stream: io.BytesIO) -> Iterator[str]:
    """The full name of everything that one pickle fetches.

    The stack is followed as far as texts lie on it untouched: a name that was put together in any other way is not
    known here, and so not harmless.
    """
    stack: list[str | None] = []
    memo: dict[object, str | None] = {}
    for opcode, argument, _ in pickletools.genops(stream):
        top = stack[-1] if stack else None
        match opcode.name:
            case "PROTO" | "FRAME":
                continue
            case "MEMOIZE":
                memo[len(memo)] = top
                continue
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                memo[argument] = top
                continue
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(memo.get(argument))
                continue
            case "GLOBAL" | "INST":
                yield str(argument).replace(" ", ".", 1)
            case "STACK_GLOBAL":
                below = stack[-2] if len(stack) > 1 else None
                yield f"{below}.{top}" if below and top else "a name that is made while it is read"
            case "EXT1" | "EXT2" | "EXT4":
                yield f"extension {argument}"
        text = opcode.name.endswith(("UNICODE", "UNICODE8", "STRING"))
        stack.append(argument if text and isinstance(argument, str) else None)
