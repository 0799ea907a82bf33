"""Copy files into a meter's flash image: micropython put_files.py IMAGE SIZE NAME=FILE ..."""

import os
import sys

HERE = __file__.rsplit("/", 1)[0]
sys.path.insert(0, HERE)

import simflash  # noqa: E402 - the path had to be known first

FLASH = "/flash"


def main(image: str, size: str, pairs: "list[str]") -> None:
    """Copy each FILE to NAME in the image, which is made when it is not there."""
    simflash.mount(image, int(size), None, FLASH)
    for pair in pairs:
        name, source = pair.split("=", 1)
        folder = name.rpartition("/")[0]
        if folder:
            make_folder(FLASH + "/" + folder)
        with open(source, "rb") as file, open(FLASH + "/" + name, "wb") as copy:
            copy.write(file.read())


def make_folder(path: str) -> None:
    """Make a folder that may be there."""
    try:
        os.mkdir(path)
    except OSError:
        pass


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
