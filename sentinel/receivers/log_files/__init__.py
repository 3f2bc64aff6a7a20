"""Log files and container logs, followed over rotation, truncation and restarts; the component itself is imported when it is configured."""

from sentinel.receivers.log_files.config import LogFilesConfig, LogSourceConfig

__all__ = ["LogFilesConfig", "LogSourceConfig"]
