import { LowbitError } from '@lowbit/core'
import { checkOnnx } from './check.js'
import { resolveExternal, type ExternalFiles } from './external.js'
import { ONNX_LIMITS, type OnnxLimits } from './limits.js'
import { ModelProtoSchema, type ModelProto } from './proto.js'
import { scanProtobuf } from './scan.js'
import { lighten } from './typed-data.js'
import { decode } from './wire/decode.js'

/** A parsed ONNX model: the plain protobuf message. Bytes fields are views of the file's bytes. */
export type OnnxModel = ModelProto

export interface ReadOnnxOptions {
  /** External data files by the name that stands in the model. Tensors become views of them. */
  readonly externalData?: ExternalFiles
  readonly limits?: Partial<OnnxLimits>
  /** What to call the model in errors, such as its path. */
  readonly name?: string
}

/**
 * Parses an ONNX file, checking every length and count before it allocates.
 *
 * Nothing is copied: `raw_data` are views, so the bytes must not change while the model lives. Unknown fields are kept. Only what
 * stands as many numbers in a typed field (`float_data`, …) is turned into `raw_data`: an array of them would end the process.
 * Tensors are checked when they are read ({@link tensorToHost}), not here.
 * @throws LOWBIT_FORMAT for what is no ONNX model, LOWBIT_LIMIT beyond the limits, LOWBIT_FILE for external data that does not fit.
 */
export function readOnnx(bytes: Uint8Array, options: ReadOnnxOptions = {}): OnnxModel {
  const { name: thing = 'model' } = options
  const limits = { ...ONNX_LIMITS, ...options.limits }
  // What is cut from a Node Buffer would be Buffers, whose slice() does not copy.
  const plain = plainView(bytes)
  const light = lighten(plain, scanProtobuf(ModelProtoSchema, plain, limits, thing), limits, thing)
  const model = decode(ModelProtoSchema, light.bytes)
  light.restore(model)
  if (model.graph === undefined || model.irVersion <= 0n) {
    throw new LowbitError('LOWBIT_FORMAT', { thing, found: 'no graph or no IR version', expected: 'an ONNX model', fix: 'check that the file is really ONNX' })
  }
  checkOnnx(model, thing)
  if (options.externalData !== undefined) resolveExternal(model, options.externalData, thing)
  return model
}

function plainView({ buffer, byteOffset, length }: Uint8Array): Uint8Array<ArrayBuffer> {
  return buffer instanceof ArrayBuffer ? new Uint8Array(buffer, byteOffset, length) : new Uint8Array(buffer, byteOffset, length).slice()
}
