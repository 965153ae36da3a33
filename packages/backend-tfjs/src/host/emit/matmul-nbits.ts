import { ortNBits } from '@lowbit/formats/layouts'
import { writeOnnx } from '@lowbit/formats'
import { toOnnx } from '../../onnx/export.js'
import { artifact } from './artifact.js'
import type { Emitter } from './emitter.js'

/** ONNX with ONNX Runtime's MatMulNBits for Dense layers; other weights as in `dequantize`. Setting `accuracyLevel` (4: int8 activations). */
export const matmulNBitsEmitter: Emitter = {
  format: 'matmul-nbits',
  accepts({ at }, scheme) {
    if (at.weight.form !== 'dense') return { ok: false, reason: `MatMulNBits is a matrix product, not a ${at.op}` }
    const wanted = ortNBits.refuses(scheme, [at.rows, at.columns])
    return wanted === undefined ? { ok: true } : { ok: false, reason: `MatMulNBits takes ${wanted}` }
  },
  check: (context) => void toOnnx(context, { nbits: true }),
  async emit(context, options) {
    const { model, notes } = toOnnx(context, { ...options, nbits: true })
    return artifact('matmul-nbits', [{ bytes: writeOnnx(model) }], notes)
  },
}
