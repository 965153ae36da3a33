import { convert, onKernels, type Prepared } from '@lowbit/backend-tfjs'
import { createWasmKernels } from '@lowbit/kernels-wasm'
import { InferenceSession, Tensor } from 'onnxruntime-node'
import { gather, type Digits } from './digits.js'
import type { Tf } from './load-tf.js'
import { correct } from './training.js'

export interface Deployed {
  /** Percent right in ONNX Runtime. */
  readonly accuracy: number
  readonly bytes: number
  /** Percent right on lowbit's own kernels. */
  readonly kernels: number
}

/** Converts a prepared model, writes it as ONNX and runs the file in ONNX Runtime; and runs the converted model on lowbit's kernels. */
export async function deploy(tf: Tf, prepared: Prepared, test: Digits): Promise<Deployed> {
  const converted = await convert(tf, prepared)
  const bytes = (await converted.host.emit('dequantize')).bytes()
  // What training did not see: ONNX Runtime rounds activations before int4 Dense weights to int8, and on x86 without VNNI sums of
  // int8 products saturate in 16 bits. Both have a switch.
  const session = await InferenceSession.create(bytes, { extra: { session: { qdq_matmulnbits_accuracy_level: '1', x64quantprecision: '1' } } })
  const output = await session.run({ [session.inputNames[0]]: new Tensor('float32', test.images, [test.count, 28, 28, 1]) })
  const logits = output[session.outputNames[0]].data
  await session.release()

  using kernels = await createWasmKernels({ threads: 1 })
  using model = onKernels(tf, prepared, converted, kernels)
  const [input] = converted.host.inputs()
  let right = 0
  for (let start = 0; start < test.count; start += 250) {
    const indices = Array.from({ length: Math.min(250, test.count - start) }, (_, i) => start + i)
    const [out] = Object.values(await model.run({ [input.name]: { dtype: 'float32', shape: [indices.length, 28, 28, 1], data: gather(test, indices) } }))
    right += correct(Float32Array.from(out.data, Number), test.labels.subarray(start, start + indices.length))
  }
  await converted.host.dispose()
  const percent = (count: number): number => (100 * count) / test.count
  return { accuracy: percent(correct(Float32Array.from(logits as Float32Array), test.labels)), bytes: bytes.length, kernels: percent(right) }
}
