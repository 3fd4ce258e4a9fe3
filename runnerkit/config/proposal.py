"""Other values for a host, as if they stood in the file."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import ValidationError

from runnerkit.config.effective import CacheSettings, HostConfig
from runnerkit.errors import ConfigError


def proposed(host: HostConfig, cache: Mapping[str, str]) -> HostConfig | None:
    """`host` with these values in its cache section, under the same rules; None without any.

    Raises ConfigError, naming the option that is wrong.
    """
    if not cache:
        return None
    given = {key: getattr(host.cache, key) for key in CacheSettings.model_fields} | dict(cache)
    try:
        settings = CacheSettings.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        option = str(first["loc"][0]).replace("_", "-")
        reason = first["msg"].removeprefix("Value error, ")
        raise ConfigError(f"--{option} {reason}") from None
    return host.model_copy(update={"cache": settings})
