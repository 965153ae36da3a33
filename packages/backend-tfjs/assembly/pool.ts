/** Gradient of max pooling: each dy goes to the first largest value of its window. `dx` starts at zero. */
export function maxPool(
  x: usize, dy: usize, dx: usize, images: i32, h: i32, w: i32, channels: i32, oh: i32, ow: i32, kh: i32, kw: i32, strideY: i32, strideX: i32, top: i32, left: i32,
): void {
  for (let image = 0; image < images; image++) {
    for (let py = 0; py < oh; py++) {
      const y0 = max(0, py * strideY - top)
      const y1 = min(h, py * strideY - top + kh)
      for (let px = 0; px < ow; px++) {
        const x0 = max(0, px * strideX - left)
        const x1 = min(w, px * strideX - left + kw)
        if (y0 >= y1 || x0 >= x1) continue
        const g = dy + ((((<usize>image * oh + py) * ow + px) * channels) << 2)
        const first = (((<usize>image * h + y0) * w + x0) * channels) << 2
        let c = 0
        for (; c + 4 <= channels; c += 4) {
          const lane = <usize>c << 2
          let best = v128.load(x + first + lane)
          let where = i32x4.splat(<i32>first)
          for (let y = y0; y < y1; y++) {
            let at = (((<usize>image * h + y) * w + x0) * channels) << 2
            for (let col = x0; col < x1; col++) {
              const v = v128.load(x + at + lane)
              const more = f32x4.gt(v, best)
              best = v128.bitselect(v, best, more)
              where = v128.bitselect(i32x4.splat(<i32>at), where, more)
              at += <usize>channels << 2
            }
          }
          const to = dx + lane
          const p0 = to + <usize>i32x4.extract_lane(where, 0)
          const p1 = to + <usize>i32x4.extract_lane(where, 1) + 4
          const p2 = to + <usize>i32x4.extract_lane(where, 2) + 8
          const p3 = to + <usize>i32x4.extract_lane(where, 3) + 12
          store<f32>(p0, load<f32>(p0) + load<f32>(g + lane))
          store<f32>(p1, load<f32>(p1) + load<f32>(g + lane, 4))
          store<f32>(p2, load<f32>(p2) + load<f32>(g + lane, 8))
          store<f32>(p3, load<f32>(p3) + load<f32>(g + lane, 12))
        }
        for (; c < channels; c++) {
          const lane = <usize>c << 2
          let best = load<f32>(x + first + lane)
          let where = first
          for (let y = y0; y < y1; y++) {
            let at = (((<usize>image * h + y) * w + x0) * channels) << 2
            for (let col = x0; col < x1; col++) {
              const v = load<f32>(x + at + lane)
              if (v > best) {
                best = v
                where = at
              }
              at += <usize>channels << 2
            }
          }
          const to = dx + where + lane
          store<f32>(to, load<f32>(to) + load<f32>(g + lane))
        }
      }
    }
  }
}
