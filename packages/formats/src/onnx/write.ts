import { joinChunks, type Chunks } from '../bytes/chunks.js'
import { MAX_PROTOBUF_BYTES } from './limits.js'
import { ModelProtoSchema, type ModelProto } from './proto.js'
import { encode } from './wire/encode.js'

/**
 * The bytes of a model in pieces, without copying large tensors: for streaming to a file.
 * Fields come in the order of their numbers, as protobuf libraries write them; unknown fields stay.
 * @throws LOWBIT_LIMIT for more than 2 GiB, which protobuf cannot hold.
 */
export function onnxChunks(model: ModelProto): Chunks {
  return encode(ModelProtoSchema, model, MAX_PROTOBUF_BYTES)
}

/**
 * The bytes of a model. Fields that lowbit does not know come out as they went in.
 * @throws LOWBIT_LIMIT for more than 2 GiB, which protobuf cannot hold.
 */
export function writeOnnx(model: ModelProto): Uint8Array<ArrayBuffer> {
  return joinChunks(onnxChunks(model))
}
