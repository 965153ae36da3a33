/** Gradient of a depthwise filter `[kh, kw, c, multiplier]`; `dw` starts at zero. */
export function depthwiseFilter(
  x: usize, dy: usize, dw: usize, images: i32, h: i32, w: i32, channels: i32, multiplier: i32, oh: i32, ow: i32, kh: i32, kw: i32,
  strideY: i32, strideX: i32, dilationY: i32, dilationX: i32, top: i32, left: i32,
): void {
  const out = channels * multiplier
  for (let image = 0; image < images; image++) {
    for (let py = 0; py < oh; py++) {
      for (let fy = 0; fy < kh; fy++) {
        const y = py * strideY + fy * dilationY - top
        if (y < 0 || y >= h) continue
        for (let px = 0; px < ow; px++) {
          const g = dy + ((((<usize>image * oh + py) * ow + px) * out) << 2)
          for (let fx = 0; fx < kw; fx++) {
            const col = px * strideX + fx * dilationX - left
            if (col < 0 || col >= w) continue
            const from = x + ((((<usize>image * h + y) * w + col) * channels) << 2)
            const to = dw + (((<usize>fy * kw + fx) * out) << 2)
            if (multiplier == 1) {
              let c = 0
              for (; c + 4 <= channels; c += 4) {
                const at = <usize>c << 2
                v128.store(to + at, f32x4.add(v128.load(to + at), f32x4.mul(v128.load(from + at), v128.load(g + at))))
              }
              for (; c < channels; c++) {
                const at = <usize>c << 2
                store<f32>(to + at, load<f32>(to + at) + load<f32>(from + at) * load<f32>(g + at))
              }
            } else {
              for (let c = 0; c < channels; c++) {
                const v = load<f32>(from + (<usize>c << 2))
                for (let q = 0; q < multiplier; q++) {
                  const at = <usize>(c * multiplier + q) << 2
                  store<f32>(to + at, load<f32>(to + at) + v * load<f32>(g + at))
                }
              }
            }
          }
        }
      }
    }
  }
}
