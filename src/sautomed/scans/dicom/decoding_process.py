"""A process that decodes the images whose decoders can end or hold up the process that they run in.

GDCM, which alone decodes lossless JPEG, aborts on some damaged images; CharLS counts to 2^31 on some damaged JPEG-LS.
Run as a script by `isolated`; imports nothing of the package. Takes images from the standard input and gives pixels to
the standard output, one at a time, once it has said that it is ready by a zero:

    in:  columns, rows, bits per number, length of the UID, length of the image (5 unsigned 32-bit), UID, image
    out: length of the pixels (unsigned 32-bit), pixels
"""

import struct
import sys

import gdcm
import jpeg_ls
import numpy as np

ASK = struct.Struct("<5I")
ANSWER = struct.Struct("<I")
JPEG_LS = ("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81")


def decode(image: bytes, syntax: str, columns: int, rows: int, bits: int) -> bytes:
    """The pixels of one grey image, 8 or 16 bits each. Ends the process, in one way or another, if it cannot."""
    if syntax in JPEG_LS:
        return _by_charls(image)
    return _by_gdcm(image, syntax, columns, rows, bits)


def _by_charls(image: bytes) -> bytes:
    return bytes(jpeg_ls.decode(np.frombuffer(image, np.uint8)).tobytes())


def _by_gdcm(image: bytes, syntax: str, columns: int, rows: int, bits: int) -> bytes:
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
    return bytes(packed.GetBuffer().encode("utf-8", "surrogateescape"))  # GDCM gives bytes as text


def main() -> None:
    """Answer until the input ends."""
    gdcm.Trace.WarningOff()
    gdcm.Trace.ErrorOff()
    asked, given = sys.stdin.buffer, sys.stdout.buffer
    given.write(ANSWER.pack(0))
    given.flush()
    while len(head := asked.read(ASK.size)) == ASK.size:
        columns, rows, bits, named, length = ASK.unpack(head)
        syntax = asked.read(named).decode("ascii")
        pixels = decode(asked.read(length), syntax, columns, rows, bits)
        given.write(ANSWER.pack(len(pixels)) + pixels)
        given.flush()


if __name__ == "__main__":
    main()
