"""The header ``content-type``: what a message that a producer sends is in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from stream.codecs.protobuf import strip_confluent
from stream.codecs.wire import CONTENT_TYPE, WireError

CDR = "application/cdr"
"""ROS 2 messages: PointCloud2 on the topic of sweeps, TFMessage on those of transforms."""

PROTOBUF = "application/x-protobuf"
"""Messages of Foxglove; the parameter ``schema`` says which, ``framing=confluent`` what precedes each."""

MEDIA_TYPES = (CDR, CONTENT_TYPE, PROTOBUF)
FRAMINGS = ("", "confluent")
_ALIASES = {"application/protobuf": PROTOBUF}


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentType:
    """A content type that can be read.

    media : one of MEDIA_TYPES
    schema : full name of the message, empty unless media is protobuf
    framing : one of FRAMINGS
    """

    media: str
    schema: str = ""
    framing: str = ""

    @classmethod
    def parse(cls, text: str) -> ContentType:
        """The type of a header. Case counts in the schema only; parameters of no meaning here are let pass.

        Raises WireError, ``schema``
        """
        media, *given = (item.strip() for item in text.split(";"))
        media = _ALIASES.get(media.lower(), media.lower())
        if media not in MEDIA_TYPES:
            expected = f"{', '.join(MEDIA_TYPES[:-1])} or {MEDIA_TYPES[-1]}"
            raise WireError("schema", f"content-type {media[:80]!r}, expected {expected}")
        if media != PROTOBUF:
            return cls(media=media)
        pairs = (item.partition("=") for item in given)
        values = {name.strip().lower(): value.strip().strip('"') for name, _, value in pairs}
        schema, framing = values.get("schema", ""), values.get("framing", "").lower()
        if not schema:
            raise WireError("schema", f"content-type {media} names no message: append ; schema=NAME")
        if framing not in FRAMINGS:
            raise WireError("schema", f"content-type: framing {framing[:80]!r}, expected confluent or none")
        return cls(media=media, schema=schema, framing=framing)

    def schema_of(self, expected: Iterable[str]) -> str:
        """The schema, which is one of those expected.  Raises WireError, ``schema``"""
        expected = list(expected)
        if self.schema not in expected:
            raise WireError(
                "schema", f"content-type: schema {self.schema[:80]!r}, expected {' or '.join(expected)}"
            )
        return self.schema

    def unframed(self, payload: bytes) -> bytes | memoryview:
        """The message itself.  Raises CodecError where the framing is broken"""
        return strip_confluent(payload) if self.framing else payload
