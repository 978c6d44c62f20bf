"""The user's image as part of the page: brought to the input's shape, small, and written into the document."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

from eyeshot.errors import EyeshotError

if TYPE_CHECKING:
    from eyeshot.analysis.report import Report

__all__ = ["MAX_SIDE", "backdrop"]

#: Pixels along the longer side at most: enough for a large screen, little enough for a file.
MAX_SIDE = 1024
#: An image with fewer pixels is written as it is (PNG), a larger one as JPEG.
SMALL = 1 << 14


def backdrop(report: Report, image: Any) -> dict[str, Any]:
    """``{"url", "width", "height", "name"}`` of an image behind the first input with two axes.

    ``image``: a path, a Pillow image, or an array [rows, columns] or [rows, columns, channels]. Its shorter
    side is scaled to fit the input and the centre cut out, as networks are fed. Raises
    :class:`~eyeshot.errors.EyeshotError` for what is no image, without Pillow, and where no input has two axes.
    """
    shape = next((s for s in report.inputs if len(s["axes"]) == 2), None)
    if shape is None:
        raise EyeshotError("image: no input of this network has two axes")
    try:
        from PIL import Image
    except ImportError:
        raise EyeshotError("images need the pillow package: pip install 'eyeshot[plot]'") from None
    from eyeshot.views.pictures.images import as_image, fitted

    rows, columns = (shape["shape"][axis] for axis in shape["axes"])
    scale = min(1.0, MAX_SIDE / max(rows, columns))
    wanted = max(1, round(rows * scale)), max(1, round(columns * scale))
    pixels, name = as_image(image)
    made = Image.fromarray(fitted(pixels, wanted).pixels)
    buffer = io.BytesIO()
    if made.width * made.height <= SMALL:
        kind = "png"
        made.save(buffer, "PNG", optimize=True)
    else:
        kind = "jpeg"
        made.save(buffer, "JPEG", quality=85)
    text = base64.b64encode(buffer.getvalue()).decode("ascii")
    return {
        "url": f"data:image/{kind};base64,{text}",
        "width": made.width,
        "height": made.height,
        "name": name,
    }
