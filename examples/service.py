"""Serves a file of `fastdl train`: rows as JSON objects in, each class's probability out.

MODEL=churn/model.onnx uvicorn service:app    then POST /predict [{"plan": "gold", "visits": 3, "spent": null}, …]
"""

from __future__ import annotations

import os
from typing import Any

from fastapi import FastAPI, HTTPException

import fastdl

runner = fastdl.Runner(os.environ["MODEL"])
app = FastAPI(title="Churn")


@app.post("/predict")
def predict(rows: list[dict[str, Any]]) -> list[dict[str, float]]:  # in one of many threads, for which a Runner is safe
    try:
        scores = runner.predict_probabilities(rows)
    except fastdl.errors.FastdlError as error:  # a column that is missing, text where a number belongs
        raise HTTPException(422, str(error)) from None
    return [dict(zip(runner.class_names or [], row, strict=True)) for row in scores.tolist()]


@app.get("/health")
def health() -> dict[str, str]:
    return {"status": "ready"}
