import type { Matrix } from '@lowbit/onnx'
import type { SiteState } from '../host/site-state.js'

/** Which axes the operator wants: `[N, K]`, `[K, N]`, `[N, C, …offsets]`, or `[C, N, …offsets]`. */
export type WeightShape = 'NK' | 'KN' | 'conv' | 'transposed'

/**
 * How ONNX's operator takes the weight of a site.
 * @param kernel - kernel sizes of a convolution
 */
export function siteMatrix({ at }: SiteState, shape: WeightShape, kernel: readonly number[] = []): Matrix {
  const { rows, columns, columnsPerChannel } = at
  const size = { rows, columns, columnsPerChannel, groups: shape === 'conv' ? at.groups : 1 }
  const channels = columns / columnsPerChannel
  switch (shape) {
    case 'NK': return { ...size, orientation: 'NK', shape: [rows, columns] }
    case 'KN': return { ...size, orientation: 'KN', shape: [columns, rows] }
    case 'conv': return { ...size, orientation: 'NK', shape: [rows, channels, ...kernel] }
    case 'transposed': return { ...size, orientation: 'convTranspose', shape: [channels, rows, ...kernel] }
  }
}
