"""The memory of the ring: one block, taken at boot, never let go and never grown.

MicroPython's heap never moves what lies in it: memory that came and went there would be in pieces
after a while, for good. So this is a static arena. What needs much in one piece for a moment, a
bundle's content, borrows of it.
"""

import gc

PAGE_BYTES = 1024
LENT_BYTES = 8_192  # the largest content of a bundle
SPARE_BYTES = 20_480  # free besides the block, or it is of the fewest pages only

TYPE_CHECKING = False


def has_free(size: int) -> bool:
    """Tell whether the heap has so many bytes free; collects garbage when it seems not."""
    free = getattr(gc, "mem_free", None)  # CPython has no bound
    if free is None or free() >= size:
        return True
    gc.collect()
    return bool(free() >= size)


class Pages:
    """Up to `count` pages of `size` bytes: as many as leave `reserve_bytes` of the heap free.

    `few` of them and room to lend where there is less, `few` alone where even that is too much.
    MemoryError when the heap has not even those.
    """

    def __init__(self, count: int, size: int, few: int, reserve_bytes: int) -> None:
        self._size = size
        self._pages: list[int | None] = [None] * count  # by number: its place in the block
        least = min(count, few + (LENT_BYTES + size - 1) // size)
        if not has_free(least * size + SPARE_BYTES):
            least = few
        while least < count and has_free((least + 1) * size + reserve_bytes):
            least += 1
        gc.collect()
        try:
            self._block = bytearray(least * size)
        except MemoryError:  # enough is free, but not in one piece
            least = few
            self._block = bytearray(few * size)
        self._unused = list(range(least))

    def place(self, number: int) -> "tuple[bytearray, int] | None":
        """Return where a page's bytes are: a buffer and the first one's place in it."""
        page = self._pages[number]
        return None if page is None else (self._block, page * self._size)

    def take(self, number: int) -> bool:
        """Have this page; False when all are in use."""
        if self._pages[number] is None and self._unused:
            self._pages[number] = self._unused.pop()
        return self._pages[number] is not None

    def drop(self, number: int) -> None:
        """Let a page go; what is in it is lost."""
        page, self._pages[number] = self._pages[number], None
        if page is not None:
            self._unused.append(page)

    def lend(self, size: int) -> "memoryview | None":
        """Return so many bytes of the block in one piece, valid until a page is taken.

        None while too many pages are in use, or the block has not as many.
        """
        page_bytes = self._size
        free = len(self._unused)  # pages 0 … free - 1 shall be it
        if free * page_bytes < size:
            return None
        view = memoryview(self._block)
        behind = [page for page in self._unused if page >= free]
        for number, page in enumerate(self._pages):
            if page is not None and page < free:
                self._pages[number] = to = behind.pop()
                view[to * page_bytes : (to + 1) * page_bytes] = view[
                    page * page_bytes : (page + 1) * page_bytes
                ]
        self._unused = list(range(free))
        return view[:size]
