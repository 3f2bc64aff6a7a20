"""Log files and container logs, followed over rotation, truncation and restarts."""

from sentinel.receivers.log_files.component import LogFiles
from sentinel.receivers.log_files.config import LogFilesConfig, LogSourceConfig

__all__ = ["LogFiles", "LogFilesConfig", "LogSourceConfig"]
