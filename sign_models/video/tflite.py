"""Changes to .tflite models, by the schema that comes with mediapipe: metadata, and one more operator."""

from __future__ import annotations

import numpy as np

MESH, MESH_AND_IRISES = 468, 478  # landmarks of a face
EYE = 33  # outer corner of the right eye: within every face, so that nothing that is computed of all landmarks changes


def add_normalization(model: bytes, mean: float, std: float) -> bytes:
    """Add metadata (schema M001) to a model: its only input is an RGB image, normalised.

    MediaPipe's own writer of 0.10 does the same; that of 1.x does not run.

    Args:
        model: A .tflite model.
        mean: Of a pixel.
        std: Deviation of a pixel.

    Returns:
        The model with metadata.
    """
    import flatbuffers
    from mediapipe.tasks.metadata import metadata_schema_py_generated as schema
    from mediapipe.tasks.metadata import schema_py_generated as tflite

    unit = schema.ProcessUnitT()
    unit.optionsType = schema.ProcessUnitOptions.NormalizationOptions
    unit.options = schema.NormalizationOptionsT()
    unit.options.mean, unit.options.std = [mean], [std]
    content = schema.ContentT()
    content.contentPropertiesType = schema.ContentProperties.ImageProperties
    content.contentProperties = schema.ImagePropertiesT()
    content.contentProperties.colorSpace = schema.ColorSpaceType.RGB
    tensor, graph, metadata = schema.TensorMetadataT(), schema.SubGraphMetadataT(), schema.ModelMetadataT()
    tensor.name, tensor.processUnits, tensor.content = "image", [unit], content
    graph.inputTensorMetadata, metadata.subgraphMetadata = [tensor], [graph]
    builder = flatbuffers.Builder(0)
    builder.Finish(metadata.Pack(builder), b"M001")

    whole = tflite.ModelT.InitFromObj(tflite.Model.GetRootAs(bytearray(model), 0))
    buffer, entry = tflite.BufferT(), tflite.MetadataT()
    buffer.data = np.frombuffer(bytes(builder.Output()), np.uint8)
    entry.name, entry.buffer = "TFLITE_METADATA", len(whole.buffers)
    whole.buffers.append(buffer)
    # Of two entries of this name, the first is read: an older one has to go.
    whole.metadata = [kept for kept in whole.metadata or [] if kept.name != b"TFLITE_METADATA"] + [entry]
    builder = flatbuffers.Builder(0)
    builder.Finish(whole.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def add_irises(model: bytes) -> bytes:
    """Make a face mesh of 468 landmarks one of 478, which MediaPipe Tasks reads: ten more at the corner of an eye.

    They are no irises, and are dropped from what Tasks answers (face.py).

    Args:
        model: A .tflite model with an output of 3 * 468 numbers.

    Returns:
        The model with an output of 3 * 478 numbers in its place.
    """
    import flatbuffers
    from mediapipe.tasks.metadata import schema_py_generated as tflite

    whole = tflite.ModelT.InitFromObj(tflite.Model.GetRootAs(bytearray(model), 0))
    graph = whole.subgraphs[0]
    mesh = next(i for i in graph.outputs if graph.tensors[i].shape[-1] == 3 * MESH)
    numbers = np.arange(3 * MESH, dtype=np.int32)
    places, more = tflite.TensorT(), tflite.TensorT()
    places.name, places.type, places.buffer = "places", tflite.TensorType.INT32, len(whole.buffers)
    more.name, more.type, more.buffer = "mesh_and_irises", graph.tensors[mesh].type, 0
    taken = np.concatenate([numbers, np.tile(numbers[3 * EYE : 3 * EYE + 3], MESH_AND_IRISES - MESH)])
    places.shape, more.shape = [len(taken)], [*graph.tensors[mesh].shape[:-1], len(taken)]
    buffer, code, gather = tflite.BufferT(), tflite.OperatorCodeT(), tflite.OperatorT()
    buffer.data = np.frombuffer(taken.tobytes(), np.uint8)
    code.builtinCode = code.deprecatedBuiltinCode = tflite.BuiltinOperator.GATHER
    code.version = 1
    gather.opcodeIndex = len(whole.operatorCodes)
    gather.inputs, gather.outputs = [mesh, len(graph.tensors)], [len(graph.tensors) + 1]
    gather.builtinOptionsType, gather.builtinOptions = tflite.BuiltinOptions.GatherOptions, tflite.GatherOptionsT()
    gather.builtinOptions.axis = len(more.shape) - 1
    whole.buffers.append(buffer)
    whole.operatorCodes.append(code)
    graph.tensors += [places, more]
    graph.operators.append(gather)
    graph.outputs = [gather.outputs[0] if output == mesh else output for output in graph.outputs]
    builder = flatbuffers.Builder(0)
    builder.Finish(whole.Pack(builder), b"TFL3")
    return bytes(builder.Output())
