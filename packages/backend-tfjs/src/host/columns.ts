import type { LayerSite } from '../layers/layer-site.js'
import { numbers, setting } from '../layers/layer-variable.js'
import type { Tensor, TfCore } from '../tf.js'

/**
 * The input of a site as the rows its weight multiplies: `[rows, groups · K]`, columns channel-major like the weight's.
 * Convolutions give one row an output position, padding included.
 */
export function inputColumns(tf: TfCore, site: LayerSite, x: Tensor): Tensor {
  if (site.weight.kind !== 'conv') return tf.reshape(x, [-1, x.shape[x.shape.length - 1]])
  if (site.weight.form === 'pointwise') return tf.reshape(x, [-1, site.columns])
  const image = x.shape.length === 3 ? tf.expandDims(x, 1) : x
  const [b, h, w, c] = image.shape
  const flat = site.variable.shape.length === 3
  const [kh, kw] = flat ? [1, site.variable.shape[0]] : site.variable.shape
  const patches = site.weight.form === 'transposed' ? transposedGeometry(site, h, w, kh, kw) : geometry(site, flat, h, w, kh, kw)
  const { strideY, strideX, dilationY, dilationX, outH, outW, before } = patches
  const source = site.weight.form === 'transposed' ? spread(tf, image, patches.spreadY, patches.spreadX) : image
  const [, sh, sw] = source.shape
  const after = [Math.max(0, (outH - 1) * strideY + (kh - 1) * dilationY + 1 - sh - before[0]), Math.max(0, (outW - 1) * strideX + (kw - 1) * dilationX + 1 - sw - before[1])]
  const padded = tf.pad(source, [[0, 0], [before[0], after[0]], [before[1], after[1]], [0, 0]])
  const parts: Tensor[] = []
  for (let y = 0; y < kh; y++) {
    for (let col = 0; col < kw; col++) {
      // A transposed convolution meets its kernel back to front.
      const [fy, fx] = site.weight.form === 'transposed' ? [kh - 1 - y, kw - 1 - col] : [y, col]
      parts.push(tf.reshape(strided(tf, padded, fy * dilationY, fx * dilationX, outH, outW, strideY, strideX), [b * outH * outW, c, 1]))
    }
  }
  return tf.reshape(tf.concat(parts, 2), [b * outH * outW, c * kh * kw])
}

interface Geometry {
  readonly strideY: number
  readonly strideX: number
  readonly dilationY: number
  readonly dilationX: number
  readonly spreadY: number
  readonly spreadX: number
  readonly outH: number
  readonly outW: number
  /** Padding above and to the left. */
  readonly before: readonly [number, number]
}

function geometry(site: LayerSite, flat: boolean, h: number, w: number, kh: number, kw: number): Geometry {
  const strides = numbers(site.layer, 'strides', 2, 1)
  const dilations = site.weight.form === 'depthwise' && site.op === 'DepthwiseConv2D' ? [1, 1] : numbers(site.layer, 'dilationRate', 2, 1)
  const [strideY, strideX] = flat ? [1, strides[0]] : strides
  const [dilationY, dilationX] = flat ? [1, dilations[0]] : dilations
  const padding = String(setting(site.layer, 'padding'))
  const along = (size: number, k: number, stride: number, dilation: number): [number, number] => {
    const reach = (k - 1) * dilation + 1
    if (padding === 'causal') return [Math.ceil(size / stride), reach - 1]
    if (padding !== 'same') return [Math.ceil((size - reach + 1) / stride), 0]
    const out = Math.ceil(size / stride)
    return [out, Math.floor(Math.max(0, (out - 1) * stride + reach - size) / 2)]
  }
  const [outH, top] = flat ? [1, 0] : along(h, kh, strideY, dilationY)
  const [outW, left] = along(w, kw, strideX, dilationX)
  return { strideY, strideX, dilationY, dilationX, spreadY: 1, spreadX: 1, outH, outW, before: [top, left] }
}

/** As a plain convolution of the input with zeros between its values. */
function transposedGeometry(site: LayerSite, h: number, w: number, kh: number, kw: number): Geometry {
  const [spreadY, spreadX] = numbers(site.layer, 'strides', 2, 1)
  const same = setting(site.layer, 'padding') === 'same'
  const along = (size: number, k: number, stride: number): [number, number] => {
    const out = same ? size * stride : size * stride + Math.max(k - stride, 0)
    const cut = Math.floor(Math.max(0, (size - 1) * stride + k - out) / 2)
    return [out, k - 1 - cut]
  }
  const [outH, top] = along(h, kh, spreadY)
  const [outW, left] = along(w, kw, spreadX)
  return { strideY: 1, strideX: 1, dilationY: 1, dilationX: 1, spreadY, spreadX, outH, outW, before: [top, left] }
}

function spread(tf: TfCore, x: Tensor, sy: number, sx: number): Tensor {
  const [b, h, w, c] = x.shape
  const wide = tf.reshape(tf.pad(tf.reshape(x, [b * h * w, c]), [[0, 0], [0, (sx - 1) * c]]), [b * h, w * sx * c])
  const tall = tf.reshape(tf.pad(wide, [[0, 0], [0, (sy - 1) * w * sx * c]]), [b, h * sy, w * sx, c])
  return tf.slice(tall, [0, 0, 0, 0], [b, (h - 1) * sy + 1, (w - 1) * sx + 1, c])
}

/** Every `stride`-th position from an offset, `[b, outH, outW, c]`. */
function strided(tf: TfCore, x: Tensor, y: number, col: number, outH: number, outW: number, sy: number, sx: number): Tensor {
  const [b, h, w, c] = x.shape
  if (sy === 1 && sx === 1) return tf.slice(x, [0, y, col, 0], [b, outH, outW, c])
  const needH = y + outH * sy
  const needW = col + outW * sx
  const room = tf.pad(x, [[0, 0], [0, Math.max(0, needH - h)], [0, Math.max(0, needW - w)], [0, 0]])
  const window = tf.reshape(tf.slice(room, [0, y, col, 0], [b, outH * sy, outW * sx, c]), [b * outH, sy, outW, sx * c])
  return tf.reshape(tf.slice(window, [0, 0, 0, 0], [b * outH, 1, outW, c]), [b, outH, outW, c])
}
