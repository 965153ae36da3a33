import { isIntegerCode } from '@lowbit/core'
import { writeOnnx } from '@lowbit/formats'
import { toOnnx } from '../../onnx/export.js'
import { artifact } from './artifact.js'
import type { Emitter } from './emitter.js'

/** ONNX with DequantizeLinear weights and QuantizeLinear / DequantizeLinear around quantized activations (QDQ). */
export const dequantizeEmitter: Emitter = {
  format: 'dequantize',
  accepts(_, scheme) {
    if (scheme.granularity.kind === 'token') return { ok: false, reason: 'weights have no scale a token' }
    return isIntegerCode(scheme.dtype) ? { ok: true } : { ok: false, reason: `ONNX's DequantizeLinear takes whole numbers, not ${scheme.dtype}` }
  },
  check: (context) => void toOnnx(context, { nbits: false }),
  async emit(context, options) {
    const { model, notes } = toOnnx(context, { ...options, nbits: false })
    return artifact('dequantize', [{ bytes: writeOnnx(model) }], notes)
  },
}
