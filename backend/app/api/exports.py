"""Taking a version away in the format of other tools."""

from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from app.api.deps import describe
from app.api.versions import ERRORS, LibraryDep, VersionDep
from app.errors import Invalid
from app.services.datasets import exporting

router = APIRouter(prefix="/api/v1/datasets/{dataset}/versions/{version}", tags=["datasets"])

_ZIP: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}}}
}


@router.get(
    "/export",
    operation_id="exportVersion",
    summary="Download a version as a zip",
    response_class=StreamingResponse,
    responses=_ZIP | describe(Invalid, *ERRORS),
)
def export_version(
    version: VersionDep,
    library: LibraryDep,
    form: Annotated[
        str, Query(alias="format", max_length=40, examples=["coco"], description="yolo, coco or voc")
    ] = "yolo",
) -> StreamingResponse:
    """YOLO is the archive that trainers fetch; for classification, its class folders. COCO takes boxes, polygons,
    oriented boxes (as polygons) and keypoints; Pascal VOC takes boxes, in whole pixels.
    """
    made = exporting.export(library, version, form)
    headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(made.filename, safe='')}"}
    if made.size is not None:
        headers["Content-Length"] = str(made.size)
    return StreamingResponse(made.chunks, media_type="application/zip", headers=headers)
