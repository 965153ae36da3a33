import { LowbitError } from '@lowbit/core'
import { dequantize } from './dequantize.js'
import { dynamic } from './dynamic.js'
import type { Format } from './format.js'
import { matmulNBits } from './matmul-nbits.js'
import { qdq, qoperator } from './static.js'

/** Every output format of an ONNX model; the first is the default. */
export const FORMATS: readonly Format[] = [matmulNBits, dequantize, dynamic, qdq, qoperator]

/** @throws LOWBIT_UNSUPPORTED naming the formats there are */
export function expectFormat(name: string): Format {
  const found = FORMATS.find((f) => f.name === name)
  if (found === undefined) {
    throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: `format '${name}'`, found: 'not one of ONNX models', expected: FORMATS.map((f) => f.name).join(', ') })
  }
  return found
}
