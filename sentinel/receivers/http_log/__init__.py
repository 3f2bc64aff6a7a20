"""Records of Kong's http-log plugin; the component itself is imported when it is configured."""

from sentinel.receivers.http_log.config import HttpLogConfig, HttpLogListenConfig

__all__ = ["HttpLogConfig", "HttpLogListenConfig"]
