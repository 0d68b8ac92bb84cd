"""Packages that only some settings need, and how to install them."""

from importlib.metadata import PackageNotFoundError, version

from classification.errors import ConfigError

INSTALL = "pip install -c constraints.txt '.[{extra}]'"


def is_installed(package: str) -> bool:
    """Whether a package of that name on the index is installed; nothing is imported."""
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def require(key: str, extra: str, *packages: str, otherwise: str = "") -> None:
    """Raise ConfigError, with the install command, unless all packages of an extra are installed.

    `key` is the setting or option that needs them; `otherwise` is what works without them.
    """
    for package in packages:
        if not is_installed(package):
            instead = f"; allowed without it: {otherwise}" if otherwise else ""
            raise ConfigError(
                f"{key}: needs {package}, which is not installed; install it with: "
                f"{INSTALL.format(extra=extra)}{instead}"
            )
