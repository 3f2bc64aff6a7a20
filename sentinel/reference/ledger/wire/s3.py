"""An archive on an S3 endpoint: objects that are written once, locked, and checked when they come back.

This is the one file that imports boto3. Its exceptions leave here as UnavailableError (the same request may succeed
later) or PermanentError (it will not). Credentials are those of boto3's own chain: the environment, or the file that
the archive's description names; never an argument.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import urlsplit

import boto3  # type: ignore[import-untyped]
import orjson
from botocore.config import Config  # type: ignore[import-untyped]
from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]

from sentinel.reference.ledger.domain import (
    LedgerError,
    PermanentError,
    UnavailableError,
    UnreadableError,
    UsageError,
)

_SHA256: Final = "sha256"
CHECKPOINTS: Final = "checkpoints/"
_FOLDERS: Final = ("base/", "wal/", CHECKPOINTS)
# As many as one request may name.
_REMOVED_COUNT_MAX: Final = 1000
_RETRYABLE: Final = frozenset(
    {"SlowDown", "InternalError", "ServiceUnavailable", "RequestTimeout"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveConfig:
    """Where the archive is, and for how long what is in it can be neither changed nor removed.

    Attributes:
        endpoint_url: of the S3 service; None: Amazon's own.
        bucket: the bucket, which belongs to the archive alone.
        prefix: before every key.
        region: the bucket's.
        credentials_file: in the form of `~/.aws/credentials`; None: boto3's chain decides.
        retention_days: of the lock.
        keep_days: for how long every point can be restored, and checkpoints are kept; not shorter than the lock.
        infrequent_days: after which they move to a cheaper class; 0: never.
    """

    bucket: str
    endpoint_url: str | None = None
    prefix: str = ""
    region: str = "us-east-1"
    credentials_file: str | None = None
    retention_days: int = 14
    keep_days: int = 35
    infrequent_days: int = 0

    def __post_init__(self) -> None:
        """Refuse what no bucket could be."""
        if not self.bucket or "/" in self.bucket:
            message = "an archive needs the name of a bucket"
            raise UsageError(message)
        if self.prefix and not self.prefix.endswith("/"):
            message = "the archive's prefix must end with /"
            raise UsageError(message)
        if not 1 <= self.retention_days <= self.keep_days:
            message = "retention_days must be at least 1 and at most keep_days"
            raise UsageError(message)
        # Amazon refuses an earlier move to this class, and one after the object's end.
        if self.infrequent_days and not 30 <= self.infrequent_days < self.keep_days:
            message = "infrequent_days must be 0, or at least 30 and below keep_days"
            raise UsageError(message)
        if self.endpoint_url is not None and urlsplit(self.endpoint_url).scheme not in (
            "http",
            "https",
        ):
            message = "endpoint_url must begin with http:// or https://"
            raise UsageError(message)


def read_archive(file: Path) -> ArchiveConfig:
    """Return the description of an archive, a JSON object with the fields of ArchiveConfig.

    Raises:
        UnreadableError: the file cannot be read.
        UsageError: it does not describe an archive.
    """
    try:
        found = orjson.loads(file.read_bytes())
        return ArchiveConfig(**found)
    except OSError as error:
        message = f"cannot read {file}: {error.strerror}"
        raise UnreadableError(message) from error
    except (orjson.JSONDecodeError, TypeError) as error:
        message = f"{file} does not describe an archive"
        raise UsageError(message) from error


class Archive:
    """The objects of one archive."""

    def __init__(self, config: ArchiveConfig) -> None:
        self._config = config
        with _translated(config):
            # A session that reads the file which is named, and no other.
            session = boto3.session.Session()
            keys: dict[str, Any] = {}
            if config.credentials_file is not None:
                keys = _keys(Path(config.credentials_file))
            self._client: Any = session.client(
                "s3",
                endpoint_url=config.endpoint_url,
                region_name=config.region,
                config=Config(
                    connect_timeout=3,
                    read_timeout=20,
                    retries={"mode": "standard", "max_attempts": 4},
                    s3={"addressing_style": "path"} if config.endpoint_url else {},
                ),
                **keys,
            )

    def put(self, key: str, content: bytes) -> bool:
        """Store an object that nobody has stored before; False when the very same is there.

        Raises:
            PermanentError: there is another object of this name, which stays; or it may not be written.
            UnavailableError: the endpoint does not answer.
        """
        return self._put(key, content, hashlib.sha256(content).digest())

    def put_file(self, key: str, file: Path) -> bool:
        """Store a file likewise, without holding it in memory.

        Raises:
            PermanentError: there is another object of this name, which stays; or it may not be written.
            UnavailableError: the endpoint does not answer.
        """
        with file.open("rb") as opened:
            digest = hashlib.file_digest(opened, _SHA256).digest()
            opened.seek(0)
            return self._put(key, opened, digest)

    def _put(self, key: str, content: bytes | IO[bytes], digest: bytes) -> bool:
        try:
            with _translated(self._config):
                self._client.put_object(
                    Bucket=self._config.bucket,
                    Key=self._config.prefix + key,
                    Body=content,
                    IfNoneMatch="*",
                    ChecksumAlgorithm="SHA256",
                    ChecksumSHA256=base64.b64encode(digest).decode(),
                    Metadata={_SHA256: digest.hex()},
                )
        except PermanentError as error:
            if error.code != "PreconditionFailed":
                raise
        else:
            return True
        with _translated(self._config):
            known = self._client.head_object(
                Bucket=self._config.bucket, Key=self._config.prefix + key
            )
        if known.get("Metadata", {}).get(_SHA256) != digest.hex():
            message = f"the archive holds another {key}, and keeps it"
            raise PermanentError(message, code="PreconditionFailed")
        return False

    def get(self, key: str) -> bytes:
        """Return an object's content, once it has been checked.

        Raises:
            PermanentError: it is not there, or is not what was stored.
            UnavailableError: the endpoint does not answer.
        """
        with _translated(self._config):
            found = self._client.get_object(
                Bucket=self._config.bucket, Key=self._config.prefix + key
            )
            content: bytes = found["Body"].read()
        if found.get("Metadata", {}).get(_SHA256) != hashlib.sha256(content).hexdigest():
            message = f"{key} in the archive is not what was stored"
            raise PermanentError(message, code="ChecksumMismatch")
        return content

    def keys(self, below: str) -> list[str]:
        """Return the names of the objects whose names begin so, in order.

        Raises:
            UnavailableError: the endpoint does not answer.
        """
        found: list[str] = []
        with _translated(self._config):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._config.bucket, Prefix=self._config.prefix + below
            )
            for page in pages:
                found += [
                    one["Key"].removeprefix(self._config.prefix)
                    for one in page.get("Contents", ())
                ]
        return sorted(found)

    def remove(self, keys: Sequence[str]) -> None:
        """Remove objects by name: in a bucket with versions they become old ones, which its rules remove.

        What is locked stays as an old version until its lock lets go.

        Raises:
            PermanentError: the credentials may not.
            UnavailableError: the endpoint does not answer.
        """
        for begin in range(0, len(keys), _REMOVED_COUNT_MAX):
            some = keys[begin : begin + _REMOVED_COUNT_MAX]
            with _translated(self._config):
                done = self._client.delete_objects(
                    Bucket=self._config.bucket,
                    Delete={
                        "Objects": [{"Key": self._config.prefix + key} for key in some],
                        "Quiet": True,
                    },
                )
            for failed in done.get("Errors", ()):
                code = str(failed.get("Code", ""))
                message = f"the archive does not remove {failed.get('Key', '')}: {code}"
                raise (UnavailableError if code in _RETRYABLE else PermanentError)(
                    message, code=code
                )

    def expiring(self) -> list[str]:
        """Return the folders of the archive out of which the bucket's rules remove objects by their age alone.

        Raises:
            PermanentError: the credentials may not ask, or there are no rules.
            UnavailableError: the endpoint does not answer.
        """
        with _translated(self._config):
            rules = self._client.get_bucket_lifecycle_configuration(Bucket=self._config.bucket)
        by_age = [
            str(rule.get("Filter", {}).get("Prefix", rule.get("Prefix", "")))
            for rule in rules["Rules"]
            if rule["Status"] == "Enabled" and "Days" in rule.get("Expiration", {})
        ]
        return [
            folder
            for folder in _FOLDERS
            if any(
                f"{self._config.prefix}{folder}".startswith(prefix)
                or prefix.startswith(f"{self._config.prefix}{folder}")
                for prefix in by_age
            )
        ]

    @property
    def keep_s(self) -> float:
        """For how long every point can be restored, in seconds."""
        return self._config.keep_days * 86_400.0

    def set_up(self) -> dict[str, object]:
        """Make the bucket, its lock and its rules, and return them as the endpoint tells them.

        Doing it again changes what has changed. A bucket without a lock cannot be given one.

        Raises:
            PermanentError: there is such a bucket and it has no lock, or it is somebody else's.
            UnavailableError: the endpoint does not answer.
        """
        bucket = self._config.bucket
        with _translated(self._config):
            if not self._exists():
                where: dict[str, Any] = {}
                if self._config.region != "us-east-1":
                    where = {
                        "CreateBucketConfiguration": {"LocationConstraint": self._config.region}
                    }
                self._client.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True, **where)
            self._client.put_object_lock_configuration(
                Bucket=bucket,
                ObjectLockConfiguration={
                    "ObjectLockEnabled": "Enabled",
                    "Rule": {
                        "DefaultRetention": {
                            "Mode": "COMPLIANCE",
                            "Days": self._config.retention_days,
                        }
                    },
                },
            )
            self._client.put_public_access_block(
                Bucket=bucket,
                PublicAccessBlockConfiguration={
                    "BlockPublicAcls": True,
                    "IgnorePublicAcls": True,
                    "BlockPublicPolicy": True,
                    "RestrictPublicBuckets": True,
                },
            )
            self._client.put_bucket_lifecycle_configuration(
                Bucket=bucket, LifecycleConfiguration={"Rules": self._rules()}
            )
        return self.told()

    def told(self) -> dict[str, object]:
        """Return lock, versioning and rules as the endpoint tells them.

        Raises:
            PermanentError: there is no lock, or no such bucket.
            UnavailableError: the endpoint does not answer.
        """
        bucket = self._config.bucket
        with _translated(self._config):
            lock = self._client.get_object_lock_configuration(Bucket=bucket)
            versions = self._client.get_bucket_versioning(Bucket=bucket)
            rules = self._client.get_bucket_lifecycle_configuration(Bucket=bucket)
        retention = lock["ObjectLockConfiguration"].get("Rule", {}).get("DefaultRetention", {})
        return {
            "bucket": bucket,
            "lock_mode": retention.get("Mode", ""),
            "lock_days": retention.get("Days", 0),
            "versioning": versions.get("Status", ""),
            "rules": [rule["ID"] for rule in rules["Rules"] if rule["Status"] == "Enabled"],
        }

    def _exists(self) -> bool:
        try:
            self._client.head_bucket(Bucket=self._config.bucket)
        except ClientError as error:
            if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 404:
                return False
            raise
        return True

    def _rules(self) -> list[dict[str, object]]:
        # By their age alone go checkpoints, for newer ones stand for them. A rule cannot know that a backup is the last good
        # one: what of the backups and the log is needed no longer is removed by `archive prune`.
        keep: dict[str, object] = {
            "ID": "ledger-keep",
            "Status": "Enabled",
            "Filter": {"Prefix": self._config.prefix + CHECKPOINTS},
            "Expiration": {"Days": self._config.keep_days},
        }
        sweep: dict[str, object] = {
            "ID": "ledger-sweep",
            "Status": "Enabled",
            "Filter": {"Prefix": self._config.prefix},
            # In a bucket with versions what is removed becomes an old version, which goes a day later.
            "Expiration": {"ExpiredObjectDeleteMarker": True},
            "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
        }
        if self._config.infrequent_days:
            sweep["Transitions"] = [
                {"Days": self._config.infrequent_days, "StorageClass": "STANDARD_IA"}
            ]
        return [keep, sweep]


def _keys(file: Path) -> dict[str, str]:
    """Return the keys of the profile `default`.

    Raises:
        UnreadableError: the file cannot be read.
        UsageError: it holds none.
    """
    from configparser import ConfigParser, Error

    parser = ConfigParser(interpolation=None)
    try:
        parser.read_string(file.read_text(encoding="utf-8"))
        section = parser["default"]
        return {
            "aws_access_key_id": section["aws_access_key_id"],
            "aws_secret_access_key": section["aws_secret_access_key"],
        }
    except OSError as error:
        message = f"cannot read {file}: {error.strerror}"
        raise UnreadableError(message) from error
    except (Error, KeyError, UnicodeDecodeError):
        # What it holds is not shown.
        message = f"{file} holds no keys of a profile `default`"
        raise UsageError(message) from None


@contextmanager
def _translated(config: ArchiveConfig) -> Iterator[None]:
    where = config.endpoint_url or "S3"
    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        message = f"the archive at {where} answers {code or status}"
        if status >= 500 or status == 429 or code in _RETRYABLE:
            raise UnavailableError(message, code=code) from error
        raise PermanentError(message, code=code) from error
    except LedgerError:
        raise
    except (BotoCoreError, OSError) as error:
        message = f"the archive at {where} cannot be used: {type(error).__name__}"
        raise UnavailableError(message, code=type(error).__name__) from error
