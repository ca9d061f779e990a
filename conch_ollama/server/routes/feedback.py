"""Thumbs up or down on an answer, by whoever got it, kept with what was asked and said."""

from __future__ import annotations

import asyncio
import logging

from fastapi import APIRouter, Request, Response

from conch_ollama.errors import OutputError
from conch_ollama.server.audit import texts
from conch_ollama.server.bodies import read_body
from conch_ollama.server.errors import Refusal, refusal_of
from conch_ollama.server.feedback import Rating, store
from conch_ollama.server.responses import JSONAnswer
from conch_ollama.server.schemas.documents import answers, body_of, object_with
from conch_ollama.server.schemas.openai import FeedbackRequest
from conch_ollama.server.shim import shim_of
from conch_ollama.server.visitors import visitor_of

router = APIRouter(tags=["feedback"])
log = logging.getLogger(__name__)
_FAULTS = {500: "The rating can't be kept, or the shim has a fault.", 507: "No space is left to keep the rating."}


@router.post(
    "/v1/feedback",
    openapi_extra=body_of(FeedbackRequest),
    responses=answers(object_with(id="string", rating="string", model="string"), faults=_FAULTS),
)
async def feedback(request: Request) -> Response:
    """Rate an answer by its `id`, soon after it was given."""
    shim = shim_of(request)
    given = read_body(request, FeedbackRequest, shim.settings.limits.json_depth)
    if shim.settings.feedback is None:
        raise Refusal(501, "Ratings are not kept here; start `conch serve` with --feedback FILE.", "not_supported")
    caller = visitor_of(request).caller.name
    found = shim.recent.get(given["id"], caller)
    if found is None:
        raise Refusal(404, "No answer of that id was given to you lately.", "answer_not_found", "id")
    words = texts(found.body, found.chunks)
    asked = words["asked"]
    rating = Rating(
        answer=given["id"],
        caller=caller,
        rating=given["rating"],
        model=found.model,
        version=found.version,
        asked=asked if isinstance(asked, list) and asked and isinstance(asked[0], dict) else [_as_user(asked)],
        said=words["said"],
        comment=given.get("comment"),
        better=given.get("better"),
    )
    try:
        await asyncio.to_thread(store, shim.settings.feedback, rating)
    except OutputError as err:
        log.warning("a rating is lost: %s", err.message)
        raise refusal_of(err) from err
    shim.metrics.feedback.labels(found.model, found.version, given["rating"]).inc()
    return JSONAnswer({"id": given["id"], "rating": given["rating"], "model": found.model, "version": found.version})


def _as_user(prompt: object) -> dict[str, str]:
    return {"role": "user", "content": str(prompt)}
