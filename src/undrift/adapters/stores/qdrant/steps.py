"""Steps of a change as the vendor's client has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, assert_never

from undrift.adapters.stores.qdrant.engine import Put, Replacement, Step, VectorPut, VectorTaken


def operation(step: Step, filter_from: Callable[[Any], Any]) -> Any:
    """Return what one request of the client takes.

    Args:
        step: what is to be done.
        filter_from: makes the client's filter of one as REST has it.
    """
    from qdrant_client import models

    match step:
        case Put():
            return models.SetPayloadOperation(
                set_payload=models.SetPayload(
                    payload=step.payload, filter=filter_from(step.filter), key=step.key or None
                )
            )
        case Replacement():
            mode = models.UpdateMode.INSERT_ONLY if step.only_absent else models.UpdateMode.UPDATE_ONLY
            # Vectors and payloads are the adapter's own or the server's: to look at each number again takes long.
            points = [
                models.PointStruct.model_construct(
                    id=point.id,
                    vector=point.vectors[""] if set(point.vectors) == {""} else dict(point.vectors),
                    payload=point.payload,
                )
                for point in step.points
            ]
            chosen = None if step.filter is None else filter_from(step.filter)
            return models.UpsertOperation.model_construct(
                upsert=models.PointsList.model_construct(points=points, update_filter=chosen, update_mode=mode)
            )
        case VectorPut():
            moved = [
                models.PointVectors.model_construct(id=id, vector={step.name: vector.tolist()})
                for id, vector in step.vectors.items()
            ]
            return models.UpdateVectorsOperation.model_construct(
                update_vectors=models.UpdateVectors.model_construct(
                    points=moved, update_filter=filter_from(step.filter)
                )
            )
        case VectorTaken():
            return models.DeleteVectorsOperation(
                delete_vectors=models.DeleteVectors(filter=filter_from(step.filter), vector=[step.name])
            )
        case _:
            assert_never(step)
