/** Sums of columns of `[rows, columns]`: four rows a pass keep partial sums short. `out` starts at zero. */
export function sumRows(x: usize, out: usize, rows: i32, columns: i32): void {
  const line = <usize>columns << 2
  let r = 0
  for (; r + 4 <= rows; r += 4) {
    const from = x + <usize>r * line
    let c = 0
    for (; c + 4 <= columns; c += 4) {
      const at = from + (<usize>c << 2)
      const to = out + (<usize>c << 2)
      const s = f32x4.add(f32x4.add(v128.load(at), v128.load(at + line)), f32x4.add(v128.load(at + 2 * line), v128.load(at + 3 * line)))
      v128.store(to, f32x4.add(v128.load(to), s))
    }
    for (; c < columns; c++) {
      const at = from + (<usize>c << 2)
      const to = out + (<usize>c << 2)
      store<f32>(to, load<f32>(to) + (load<f32>(at) + load<f32>(at + line)) + (load<f32>(at + 2 * line) + load<f32>(at + 3 * line)))
    }
  }
  for (; r < rows; r++) {
    for (let c = 0; c < columns; c++) {
      const to = out + (<usize>c << 2)
      store<f32>(to, load<f32>(to) + load<f32>(x + <usize>r * line + (<usize>c << 2)))
    }
  }
}

/** Sums of rows of `[rows, columns]`, eight partial sums a row. */
export function sumColumns(x: usize, out: usize, rows: i32, columns: i32): void {
  for (let r = 0; r < rows; r++) {
    const from = x + ((<usize>r * columns) << 2)
    let s = f32x4.splat(0), t = s
    let c = 0
    for (; c + 8 <= columns; c += 8) {
      const at = from + (<usize>c << 2)
      s = f32x4.add(s, v128.load(at))
      t = f32x4.add(t, v128.load(at, 16))
    }
    s = f32x4.add(s, t)
    let sum = (f32x4.extract_lane(s, 0) + f32x4.extract_lane(s, 1)) + (f32x4.extract_lane(s, 2) + f32x4.extract_lane(s, 3))
    for (; c < columns; c++) sum += load<f32>(from + (<usize>c << 2))
    store<f32>(out + (<usize>r << 2), sum)
  }
}
