"""A process that decodes lossless JPEG with GDCM, because GDCM ends the process it runs in on a damaged image.

Run as a script by `isolated`; imports nothing of the package. Takes images from the standard input and gives pixels to
the standard output, one at a time:

    in:  columns, rows, bits per number, length of the UID, length of the image (5 unsigned 32-bit), UID, image
    out: length of the pixels (unsigned 32-bit), pixels
"""

import struct
import sys

import gdcm

ASK = struct.Struct("<5I")
ANSWER = struct.Struct("<I")


def decode(image: bytes, syntax: str, columns: int, rows: int, bits: int) -> bytes:
    """The pixels of one grey image, 8 or 16 bits each. GDCM aborts the process if it cannot decode them."""
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
    while len(head := asked.read(ASK.size)) == ASK.size:
        columns, rows, bits, named, length = ASK.unpack(head)
        syntax = asked.read(named).decode("ascii")
        pixels = decode(asked.read(length), syntax, columns, rows, bits)
        given.write(ANSWER.pack(len(pixels)) + pixels)
        given.flush()


if __name__ == "__main__":
    main()
