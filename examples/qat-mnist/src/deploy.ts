import { convert, type Prepared } from '@lowbit/backend-tfjs'
import { InferenceSession, Tensor } from 'onnxruntime-node'
import type { Digits } from './digits.js'
import type { Tf } from './load-tf.js'
import { correct } from './training.js'

export interface Deployed {
  /** Percent right in ONNX Runtime. */
  readonly accuracy: number
  readonly bytes: number
}

/** Converts a prepared model, writes it as ONNX, and runs the file in ONNX Runtime. */
export async function deploy(tf: Tf, prepared: Prepared, test: Digits): Promise<Deployed> {
  const { host } = await convert(tf, prepared)
  const bytes = (await host.emit('dequantize')).bytes()
  // What training did not see: ONNX Runtime rounds activations before int4 Dense weights to int8, and on x86 without VNNI sums of
  // int8 products saturate in 16 bits. Both have a switch.
  const session = await InferenceSession.create(bytes, { extra: { session: { qdq_matmulnbits_accuracy_level: '1', x64quantprecision: '1' } } })
  const output = await session.run({ [session.inputNames[0]]: new Tensor('float32', test.images, [test.count, 28, 28, 1]) })
  const logits = output[session.outputNames[0]].data
  await session.release()
  await host.dispose()
  return { accuracy: (100 * correct(Float32Array.from(logits as Float32Array), test.labels)) / test.count, bytes: bytes.length }
}
