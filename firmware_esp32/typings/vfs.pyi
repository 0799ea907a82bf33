# MicroPython's `vfs` module, what the simulated board uses of it.
class VfsLfs2:
    def __init__(
        self,
        block_dev: object,
        readsize: int = ...,
        progsize: int = ...,
        lookahead: int = ...,
        mtime: bool = ...,
    ) -> None: ...
    @staticmethod
    def mkfs(
        block_dev: object, readsize: int = ..., progsize: int = ..., lookahead: int = ...
    ) -> None: ...

def mount(fsobj: object, mount_point: str, *, readonly: bool = ...) -> None: ...
def umount(mount_point: object) -> None: ...

class VfsRom:
    def __init__(self, image: memoryview | bytearray) -> None: ...
