import type { Differentiator, HostTensor, QTensor } from '@lowbit/core'
import { convertWeight, LowbitError, referenceOps } from '@lowbit/core'
import { bitnet, TERNARY_WEIGHTS } from './bitnet.js'

/**
 * Ternary codes and their one scale from latent weights: what training used in its forward pass, and the only form in which a
 * BitNet weight leaves. (Latent weights written as they are turn binary in formats that keep two bits a weight.)
 *
 * @param latent `[N, K]`
 * @throws LOWBIT_SHAPE unless it is a matrix, LOWBIT_NONFINITE if it holds NaN or infinities.
 */
export async function ternarise(latent: HostTensor<'float32'>): Promise<QTensor> {
  const backend = referenceOps()
  return ternariseOn(backend, backend.ops.constant(latent.data, latent.shape))
}

/** {@link ternarise} on the backend that trained, so that not even the order in which mean|w| is summed differs. */
export async function ternariseOn<T>(backend: Pick<Differentiator<T>, 'ops' | 'read'>, latent: T, orientation: 'NK' | 'KN' = 'NK', thing = 'BitNet weight'): Promise<QTensor> {
  const shape = backend.ops.shape(latent)
  if (shape.length !== 2) throw new LowbitError('LOWBIT_SHAPE', { thing, found: `shape [${shape.join(', ')}]`, expected: 'a matrix' })
  const fakeQuant = bitnet().fakeQuant({ scheme: TERNARY_WEIGHTS, shape, role: 'weight' })
  const unused = { read: (): never => missing(thing), write: (): never => missing(thing), step: 0, training: false }
  return convertWeight(backend, fakeQuant, latent, unused, orientation, thing)
}

function missing(thing: string): never {
  throw new LowbitError('LOWBIT_INTERNAL', { thing, found: 'a fake-quantization variable was asked for', expected: 'none: BitNet has no state' })
}
