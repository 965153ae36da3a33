import { LowbitError } from '@lowbit/core'
import { dequantizeEmitter } from './dequantize.js'
import { dynamicEmitter } from './dynamic.js'
import type { Emitter } from './emitter.js'
import { matmulNBitsEmitter } from './matmul-nbits.js'
import { qdqEmitter, qoperatorEmitter } from '../static/emitters.js'

/** Every output format of this backend; the first is the default. */
export const EMITTERS: readonly Emitter[] = [matmulNBitsEmitter, dequantizeEmitter, dynamicEmitter, qdqEmitter, qoperatorEmitter]

/** @throws LOWBIT_UNSUPPORTED naming the formats there are */
export function expectEmitter(format: string): Emitter {
  const found = EMITTERS.find((e) => e.format === format)
  if (found === undefined) {
    throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: `format '${format}'`, found: 'unknown to the ONNX backend', expected: EMITTERS.map((e) => e.format).join(', ') })
  }
  return found
}
