"""An address as a QR code, which the teacher's page shows to the class.

Owns its form, the path of an SVG, so that the page needs neither markup nor an image from elsewhere. Knows no session.
"""

import segno

QUIET_MODULES = 4
"""The light border that the standard asks for, in modules."""


def qr_code(address: str) -> dict[str, int | str]:
    """The QR code of an address: the modules along one side with the border, and the dark ones as a path.

    Error correction M: 15 % of it may be hidden by a reflection.
    """
    code = segno.make(address, error="m", micro=False)
    size = int(code.symbol_size(scale=1, border=QUIET_MODULES)[0])
    path = "".join(_runs(row, y) for y, row in enumerate(code.matrix_iter(scale=1, border=QUIET_MODULES)))
    return {"size": size, "path": path}


def _runs(row: object, y: int) -> str:
    """The dark modules of a row, those beside each other as one rectangle."""
    dark = bytes(row)  # type: ignore[call-overload]
    path, x = [], 0
    while x < len(dark):
        length = 1
        if dark[x]:
            while x + length < len(dark) and dark[x + length]:
                length += 1
            path.append(f"M{x} {y}h{length}v1h-{length}z")
        x += length
    return "".join(path)
