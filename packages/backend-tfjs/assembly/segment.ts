/** out[ids[r]] += x[r]; rows whose id is outside are dropped, as tfjs does. `out` starts at zero. */
export function segmentSum(x: usize, ids: usize, out: usize, rows: i32, inner: i32, segments: i32): void {
  for (let r = 0; r < rows; r++) {
    const id = load<i32>(ids + (<usize>r << 2))
    if (id < 0 || id >= segments) continue
    const from = x + ((<usize>r * inner) << 2)
    const to = out + ((<usize>id * inner) << 2)
    let i = 0
    for (; i + 4 <= inner; i += 4) {
      const at = <usize>i << 2
      v128.store(to + at, f32x4.add(v128.load(to + at), v128.load(from + at)))
    }
    for (; i < inner; i++) {
      const at = <usize>i << 2
      store<f32>(to + at, load<f32>(to + at) + load<f32>(from + at))
    }
  }
}
