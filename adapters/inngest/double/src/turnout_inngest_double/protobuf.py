"""Just enough of protobuf's wire format for the messages of `connect`: varints and bytes."""

from collections.abc import Mapping

Fields = dict[int, list[bytes | int]]
_VARINT, _BYTES = 0, 2
_MAX_SHIFT = 63


def encode(fields: Mapping[int, str | bytes | int | bool]) -> bytes:
    """A message of the given fields; empty values are left out, as proto3 does."""
    message = bytearray()
    for number, value in fields.items():
        if isinstance(value, int):
            if value:
                message += _varint(number << 3 | _VARINT) + _varint(int(value))
            continue
        raw = value.encode() if isinstance(value, str) else value
        if raw:
            message += _varint(number << 3 | _BYTES) + _varint(len(raw)) + raw
    return bytes(message)


def decode(message: bytes) -> Fields:
    """The message's fields by number; ValueError when it is cut short or malformed."""
    fields: Fields = {}
    position = 0
    while position < len(message):
        tag, position = _read_varint(message, position)
        value: bytes | int
        kind = tag & 7
        if kind == _VARINT:
            value, position = _read_varint(message, position)
        else:
            size, position = _size(message, position, kind)
            value = message[position : position + size]
            if len(value) != size:
                raise ValueError("a protobuf message is cut short")
            position += size
        fields.setdefault(tag >> 3, []).append(value)
    return fields


def text(fields: Fields, number: int) -> str:
    """The field as text; empty when it is absent."""
    return raw(fields, number).decode()


def raw(fields: Fields, number: int) -> bytes:
    """The field as bytes; empty when it is absent."""
    value = fields.get(number, [b""])[-1]
    if not isinstance(value, bytes):
        raise ValueError(f"protobuf field {number} is not bytes")  # noqa: TRY004 - of the message
    return value


def number(fields: Fields, at: int) -> int:
    """The field as a number; zero when it is absent."""
    value = fields.get(at, [0])[-1]
    if not isinstance(value, int):
        raise ValueError(f"protobuf field {at} is not a number")  # noqa: TRY004 - of the message
    return value


def _size(message: bytes, position: int, kind: int) -> tuple[int, int]:
    match kind:
        case 2:
            return _read_varint(message, position)
        case 1:
            return 8, position
        case 5:
            return 4, position
    raise ValueError(f"protobuf wire type {kind} is not supported")


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 127:  # noqa: PLR2004 - seven bits a byte
        encoded.append(value & 127 | 128)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _read_varint(message: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(message) and shift <= _MAX_SHIFT:
        byte = message[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:  # noqa: PLR2004 - the last byte has no high bit
            return value, position
        shift += 7
    raise ValueError("a protobuf number is cut short or too long")
