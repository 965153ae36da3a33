import { toBinary } from '@bufbuild/protobuf'
import { LowbitError } from '@lowbit/core'
import { MAX_PROTOBUF_BYTES } from './limits.js'
import { ModelProtoSchema, type ModelProto } from './proto.js'

/**
 * The bytes of a model. Fields that lowbit does not know come out as they went in.
 * @throws LOWBIT_LIMIT for more than 2 GiB, which protobuf cannot hold.
 */
export function writeOnnx(model: ModelProto): Uint8Array<ArrayBuffer> {
  const bytes = toBinary(ModelProtoSchema, model)
  if (bytes.length > MAX_PROTOBUF_BYTES) throw new LowbitError('LOWBIT_LIMIT', { thing: 'model', found: `${bytes.length} bytes`, expected: 'at most 2 GiB', fix: 'save it with external data' })
  return bytes
}
