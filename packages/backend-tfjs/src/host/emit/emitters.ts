import { LowbitError } from '@lowbit/core'
import { dequantizeEmitter } from './dequantize.js'
import type { Emitter } from './emitter.js'
import { layersEmitter } from './layers.js'
import { matmulNBitsEmitter } from './matmul-nbits.js'

/** Every output format of this backend; the first is the default. */
export const emitters: readonly Emitter[] = [dequantizeEmitter, matmulNBitsEmitter, layersEmitter]

/** @throws LOWBIT_UNSUPPORTED naming the formats there are. */
export function expectEmitter(format: string): Emitter {
  const found = emitters.find((e) => e.format === format)
  if (found === undefined) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: `format '${format}'`, found: 'unknown to the tfjs backend', expected: emitters.map((e) => e.format).join(', ') })
  return found
}
