"""What a client may ask: the schemas, written out for OpenAPI, and the checks that hold requests to them."""

import json
import math
from typing import Any

from corrpo.errors import BadInputError


class MalformedError(BadInputError):
    """A body that is not JSON."""


_PROMPT = {
    "description": "Text, or chat messages.",
    "oneOf": [
        {"type": "string", "minLength": 1},
        {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["role", "content"],
                "properties": {"role": {"type": "string"}, "content": {"type": "string"}},
            },
        },
    ],
}
SCORE: dict[str, Any] = {
    "type": "object",
    "required": ["prompt", "response"],
    "additionalProperties": False,
    "properties": {"prompt": _PROMPT, "response": {"type": "string", "minLength": 1}},
}
GENERATE: dict[str, Any] = {
    "type": "object",
    "required": ["prompt"],
    "additionalProperties": False,
    "properties": {
        "prompt": _PROMPT,
        "max_new_tokens": {"type": "integer", "minimum": 1, "maximum": 1 << 20, "default": 256},
        "temperature": {"type": "number", "minimum": 0, "maximum": 100, "default": 1.0},
        "top_p": {"type": "number", "exclusiveMinimum": 0, "maximum": 1, "default": 1.0},
        "seed": {"type": "integer", "minimum": 0, "maximum": (1 << 63) - 1, "default": 0},
    },
}


def parsed(body: bytes, schema: dict[str, Any]) -> dict[str, Any]:
    """A request of a schema, defaults filled in. The prompt is checked where it is read."""
    try:
        given = json.loads(body.decode("utf-8"), parse_constant=_refused)
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"the body is not valid JSON: {str(error)[:200]}") from error
    if not isinstance(given, dict):
        raise BadInputError("the body must be a JSON object")
    known = schema["properties"]
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise BadInputError(f"unknown field {unknown[0][:50]!r}; expected {', '.join(known)}")
    missing = [name for name in schema["required"] if name not in given]
    if missing:
        raise BadInputError(f"{missing[0]!r} is missing")
    for name, value in given.items():
        if name != "prompt":
            _check(name, value, known[name])
    return {name: rule["default"] for name, rule in known.items() if "default" in rule} | given


def _refused(word: str) -> float:
    raise ValueError(f"{word} is not JSON")


def _check(name: str, value: Any, rule: dict[str, Any]) -> None:
    kind = rule["type"]
    if kind == "string":
        if not isinstance(value, str) or not value:
            raise BadInputError(f"{name!r} must be text, not empty")
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise BadInputError(f"{name!r} holds a lone surrogate, which no tokenizer reads")
        return
    allowed = (int,) if kind == "integer" else (int, float)
    low, high = rule.get("minimum", rule.get("exclusiveMinimum", 0)), rule["maximum"]
    fits = isinstance(value, allowed) and not isinstance(value, bool) and low <= value <= high
    if not fits or not math.isfinite(value) or value == rule.get("exclusiveMinimum"):
        raise BadInputError(f"{name!r} must be a {kind} from {low} to {high}")


_RHO = {
    "type": ["object", "null"],
    "properties": {
        "value": {"type": "number"},
        "low": {"type": ["number", "null"]},
        "high": {"type": ["number", "null"]},
        "tokens": {"type": "integer"},
    },
}
_SCORED = {
    "type": "object",
    "properties": {
        "tokens": {"type": "integer"},
        "rho": _RHO,
        "highest": {"type": ["number", "null"]},
        "lowest": {"type": ["number", "null"]},
        "mean_entropy": {"type": ["number", "null"]},
        "flag": {"type": ["boolean", "null"]},
        "running_flag": {"type": ["boolean", "null"]},
        "flagged_at": {"type": ["integer", "null"]},
    },
}


REFUSALS = ("400", "401", "403", "408", "413", "415", "422", "429", "500", "503", "504")
"""Statuses of the answers to /v1 that are not 200."""


def openapi(version: str, *, token: bool) -> dict[str, Any]:
    """The OpenAPI 3.1 document of the service."""

    def content(schema: dict[str, Any], kind: str = "application/json") -> dict[str, Any]:
        return {kind: {"schema": schema}}

    error = {"description": "What is wrong", "content": content({"$ref": "#/components/schemas/Error"})}
    refused = {status: error for status in REFUSALS}

    def post(summary: str, schema: str, answer: dict[str, Any]) -> dict[str, Any]:
        body = {"required": True, "content": content({"$ref": f"#/components/schemas/{schema}"})}
        return {"post": {"summary": summary, "requestBody": body, "responses": {"200": answer, **refused}}}

    def get(summary: str, kind: str) -> dict[str, Any]:
        good = {"description": summary, "content": content({}, kind)}
        return {"get": {"summary": summary, "responses": {"200": good, "503": error}}}

    events = "Server-sent events: token (text, entropy, strength, rho, flag), then done (a Scored) or error."
    document = {
        "openapi": "3.1.0",
        "info": {"title": "corrpo monitor", "version": version},
        "paths": {
            "/v1/score": post(
                "Judge a finished response",
                "Score",
                {"description": "Judged", "content": content({"$ref": "#/components/schemas/Scored"})},
            ),
            "/v1/generate": post(
                "Write a response and watch it",
                "Generate",
                {"description": events, "content": content({"type": "string"}, "text/event-stream")},
            ),
            "/health": get("Whether the model is ready", "application/json"),
            "/metrics": get("Prometheus text", "text/plain"),
            "/openapi.json": get("This document", "application/json"),
        },
        "components": {
            "schemas": {
                "Score": SCORE,
                "Generate": GENERATE,
                "Scored": _SCORED,
                "Error": {"type": "object", "properties": {"error": {"type": "string"}}},
            },
        },
    }
    if token:
        document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"token": []}]
        document["paths"]["/health"]["get"]["security"] = []
    return document
