"""Script that decodes images whose decoders can crash or block their process.

GDCM, the only decoder of lossless JPEG here, aborts on some damaged images; CharLS counts to 2^31 on some damaged
JPEG-LS. Started by `isolated`; imports nothing of the package. Writes a zero to the standard output when it is ready,
then reads one image at a time from the standard input and writes its pixels:

    in:  columns, rows, bits per number, length of the UID, length of the image (5 unsigned 32-bit), UID, image
    out: length of the pixels (unsigned 32-bit), pixels
"""

import struct
import sys

import gdcm
import jpeg_ls
import numpy as np

REQUEST = struct.Struct("<5I")
RESPONSE = struct.Struct("<I")
JPEG_LS = ("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81")


def decode(image: bytes, syntax: str, columns: int, rows: int, bits: int) -> bytes:
    """Return the pixels of one grey image, 8 or 16 bits each. May end the process if the image is damaged."""
    if syntax in JPEG_LS:
        return _decode_with_charls(image)
    return _decode_with_gdcm(image, syntax, columns, rows, bits)


def _decode_with_charls(image: bytes) -> bytes:
    return bytes(jpeg_ls.decode(np.frombuffer(image, np.uint8)).tobytes())


def _decode_with_gdcm(image: bytes, syntax: str, columns: int, rows: int, bits: int) -> bytes:
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(image)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    packed = gdcm.Image()
    packed.SetNumberOfDimensions(2)
    packed.SetDimensions((columns, rows, 1))
    packed.SetDataElement(element)
    packed.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(gdcm.PhotometricInterpretation.MONOCHROME2))
    packed.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(syntax)))
    packed.SetPixelFormat(gdcm.PixelFormat(1, 8 if bits <= 8 else 16, bits, bits - 1, 0))
    return bytes(packed.GetBuffer().encode("utf-8", "surrogateescape"))  # GDCM returns bytes as str


def main() -> None:
    """Decode images until the input ends."""
    gdcm.Trace.WarningOff()
    gdcm.Trace.ErrorOff()
    requests, responses = sys.stdin.buffer, sys.stdout.buffer
    responses.write(RESPONSE.pack(0))
    responses.flush()
    while len(head := requests.read(REQUEST.size)) == REQUEST.size:
        columns, rows, bits, uid_length, image_length = REQUEST.unpack(head)
        syntax = requests.read(uid_length).decode("ascii")
        pixels = decode(requests.read(image_length), syntax, columns, rows, bits)
        responses.write(RESPONSE.pack(len(pixels)) + pixels)
        responses.flush()


if __name__ == "__main__":
    main()
