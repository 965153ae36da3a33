import { KC, MR, NR, packA, packB, panel } from './panels'

/**
 * Gradient of a convolution's filter, `[kh, kw, ci, co]`: an implicit matrix product, rows (kernel y, kernel x, in channel),
 * inner dimension (image, out y, out x), columns out channels. The gathered rows are never stored whole.
 */
export function convFilter(
  x: usize, dy: usize, dw: usize, images: i32, h: i32, w: i32, ci: i32, oh: i32, ow: i32, co: i32, kh: i32, kw: i32,
  strideY: i32, strideX: i32, top: i32, left: i32, scratch: usize,
): void {
  const packedB = scratch
  const packedA = packedB + ((<usize>KC * ((co + NR - 1) / NR) * NR) << 2)
  const edge = packedA + (KC * MR << 2)
  const inner = images * oh * ow
  const rows = kh * kw * ci
  for (let k0 = 0; k0 < inner; k0 += KC) {
    const kc = min(KC, inner - k0)
    packB(dy, co, 1, k0, kc, co, packedB)
    for (let i = 0; i < rows; i += MR) {
      const height = min(MR, rows - i)
      for (let r = 0; r < MR; r++) {
        let out = packedA + (<usize>r << 2)
        if (r >= height) {
          for (let k = 0; k < kc; k++) { store<f32>(out, 0); out += MR * 4 }
          continue
        }
        const row = i + r
        const channel = row % ci
        const fx = (row / ci) % kw
        const fy = row / (ci * kw)
        let px = k0 % ow
        let py = (k0 / ow) % oh
        let image = k0 / (ow * oh)
        let k = 0
        while (k < kc) {
          const run = min(kc - k, ow - px)
          const y = py * strideY + fy - top
          if (y < 0 || y >= h) {
            for (let e = 0; e < run; e++) { store<f32>(out, 0); out += MR * 4 }
          } else {
            const line = x + ((((<usize>image * h + y) * w) * ci + channel) << 2)
            let col = px * strideX + fx - left
            for (let e = 0; e < run; e++) {
              store<f32>(out, col >= 0 && col < w ? load<f32>(line + ((<usize>col * ci) << 2)) : 0)
              col += strideX
              out += MR * 4
            }
          }
          k += run
          px = 0
          if (++py == oh) { py = 0; image++ }
        }
      }
      panel(packedA, packedB, kc, dw, i, height, co, edge, k0 > 0)
    }
  }
}

/** Positions of dy whose products are held at a time: whole panels, small enough to stay in the first cache. */
const POSITIONS: i32 = 252

/** Floats of scratch that `convInput` needs for filters `[kh, kw, ci, co]`, `taps` = kh·kw·ci. */
export function convInputScratch(taps: i32): i32 {
  const width = (taps + NR - 1) / NR * NR
  return KC * width + KC * MR + MR * NR + POSITIONS * width
}

/**
 * Gradient of a convolution's input where it has few channels: dy, as a matrix of positions by out channels, times the filter
 * turned to out channels by (kernel y, kernel x, in channel); each row of products is then added where its taps were read. `dx` starts at zero.
 */
export function convInput(
  dy: usize, filter: usize, dx: usize, images: i32, h: i32, w: i32, ci: i32, oh: i32, ow: i32, co: i32, kh: i32, kw: i32,
  strideY: i32, strideX: i32, top: i32, left: i32, scratch: usize,
): void {
  const taps = kh * kw * ci
  const width = (taps + NR - 1) / NR * NR
  const packedB = scratch
  const packedA = packedB + (<usize>(KC * width) << 2)
  const edge = packedA + (KC * MR << 2)
  const products = edge + (MR * NR << 2)
  const positions = images * oh * ow
  if (co <= KC) packB(filter, 1, co, 0, co, taps, packedB)
  let px = 0, py = 0, image = 0
  for (let p0 = 0; p0 < positions; p0 += POSITIONS) {
    const count = min(POSITIONS, positions - p0)
    for (let k0 = 0; k0 < co; k0 += KC) {
      const kc = min(KC, co - k0)
      if (co > KC) packB(filter, 1, co, k0, kc, taps, packedB)
      for (let i = 0; i < count; i += MR) {
        const height = min(MR, count - i)
        packA(dy, co, 1, p0 + i, height, k0, kc, packedA)
        panel(packedA, packedB, kc, products, i, height, width, edge, k0 > 0)
      }
    }
    for (let i = 0; i < count; i++) {
      let from = products + (<usize>(i * width) << 2)
      for (let fy = 0; fy < kh; fy++) {
        const y = py * strideY + fy - top
        if (y < 0 || y >= h) {
          from += <usize>(kw * ci) << 2
          continue
        }
        const line = dx + ((((<usize>image * h + y) * w) * ci) << 2)
        for (let fx = 0; fx < kw; fx++) {
          const col = px * strideX + fx - left
          if (col >= 0 && col < w) {
            for (let c = 0; c < ci; c++) {
              const to = line + (<usize>(col * ci + c) << 2)
              store<f32>(to, load<f32>(to) + load<f32>(from + (<usize>c << 2)))
            }
          }
          from += <usize>ci << 2
        }
      }
      if (++px == ow) {
        px = 0
        if (++py == oh) { py = 0; image++ }
      }
    }
  }
}
