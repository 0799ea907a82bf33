"""Taking the gateway away again: the program always, settings and readings only on demand."""

import shutil
from pathlib import Path

from gateway.adapters.installer.errors import explain
from gateway.adapters.installer.files import make_folders
from gateway.adapters.installer.layout import BROKER, SERVICE, Layout
from gateway.adapters.installer.machine import account_exists, remove_account
from gateway.adapters.installer.papers import CERTS
from gateway.adapters.installer.record import Record
from gateway.adapters.installer.services import ServiceManager
from gateway.adapters.installer.shipped import TIMER, all_paths
from gateway.adapters.installer.steps import Report


class Uninstaller:
    """Removes what `Installer` made. Running it again is no fault."""

    def __init__(self, layout: Layout, services: ServiceManager, *, purge: bool) -> None:
        """`purge`: remove settings, passwords, certificates and readings too."""
        self._layout = layout
        self._services = services
        self._purge = purge
        self._record = Record(layout)

    def plan(self) -> list[str]:
        """Return what would be done, [] when nothing is there."""
        said = []
        if self._services.active(SERVICE) or self._services.enabled(SERVICE):
            said.append(f"stop {SERVICE}")
        for path in [*self._program(), *self._folder()]:
            kept = f" (changed by hand: kept in {self._kept()})" if self._by_hand(path) else ""
            said.append(f"remove {path}{kept}")
        if self._purge:
            said += [f"remove {path} for good" for path in self._data()]
            if not self._layout.staged and account_exists():
                said.append("remove the account wattwarden")
        return said

    def run(self, report: Report) -> None:
        """Do it. InstallError when a file cannot be removed; running it again goes on."""
        layout, services = self._layout, self._services
        for unit in (TIMER, SERVICE):
            services.disable(unit)
            services.stop(unit)
        had_broker = services.active(BROKER)
        try:
            for path in self._program():
                report(f"remove {path}")
                self._save_by_hand(path)
                _remove(path)
            for path in self._data() if self._purge else []:
                report(f"remove {path} for good")
                _remove(path)
        except OSError as error:
            raise explain(error) from error
        if self._purge and not layout.staged and account_exists():
            report("remove the account wattwarden")
            remove_account()
        if services.available():
            services.reread()
            if had_broker:
                report(f"restart {BROKER} without our settings")
                services.restart(BROKER)
        self._remove_program(report)  # last of all: it may be what runs here

    def _remove_program(self, report: Report) -> None:
        try:
            for folder in self._folder():
                report(f"remove {folder}")
                _remove(folder)
        except OSError as error:
            raise explain(error) from error

    def left(self) -> list[Path]:
        """Return what stays."""
        return [path for path in self._all_data() if path.exists()]

    def _program(self) -> list[Path]:
        """Return what is there of system files."""
        layout = self._layout
        shipped = [layout.real(path) for path in all_paths()]
        beside = [path.with_name(path.name + ".wattwarden-new") for path in shipped]
        folders = [layout.unit_extras]
        every = [layout.command, *shipped, *beside, *folders]
        return [path for path in every if path.is_symlink() or path.exists()]

    def _folder(self) -> list[Path]:
        return [self._layout.program] if self._layout.program.exists() else []

    def _data(self) -> list[Path]:
        return [path for path in self._all_data() if path.exists()]

    def _all_data(self) -> list[Path]:
        layout = self._layout
        certs = layout.real(CERTS)
        return [
            layout.settings_folder,
            layout.state,
            layout.broker_passwords,
            layout.broker_acl,
            *(certs.glob("wattwarden-*") if certs.is_dir() else ()),
            *(layout.credstore.glob("wattwarden.*") if layout.credstore.is_dir() else ()),
        ]

    def _kept(self) -> Path:
        return self._layout.settings_folder / "kept"

    def _by_hand(self, path: Path) -> bool:
        return not self._purge and path.is_file() and not path.is_symlink() and (
            path.name.endswith((".conf", ".service")) and self._record.changed(path)
        )  # fmt: skip

    def _save_by_hand(self, path: Path) -> None:
        if self._by_hand(path):
            make_folders(self._kept())
            shutil.copy2(path, self._kept() / path.name)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
