import { arithmetic, arithmeticOne } from './arithmetic'

/** Smallest (kind 4) or largest (kind 5) of each row of `[rows, columns]`. */
export function extremes(kind: i32, x: usize, out: usize, rows: i32, columns: i32): void {
  for (let r = 0; r < rows; r++) {
    const from = x + ((<usize>r * columns) << 2)
    let best = load<f32>(from)
    let c = 0
    if (columns >= 8) {
      let p = v128.load(from), q = v128.load(from, 16)
      for (c = 8; c + 8 <= columns; c += 8) {
        const at = from + (<usize>c << 2)
        p = arithmetic(kind, p, v128.load(at))
        q = arithmetic(kind, q, v128.load(at, 16))
      }
      p = arithmetic(kind, p, q)
      best = arithmeticOne(kind, arithmeticOne(kind, f32x4.extract_lane(p, 0), f32x4.extract_lane(p, 1)), arithmeticOne(kind, f32x4.extract_lane(p, 2), f32x4.extract_lane(p, 3)))
    }
    for (; c < columns; c++) best = arithmeticOne(kind, best, load<f32>(from + (<usize>c << 2)))
    store<f32>(out + (<usize>r << 2), best)
  }
}

/** Smallest (kind 4) or largest (kind 5) of each column of `[rows, columns]`. */
export function extremesOfRows(kind: i32, x: usize, out: usize, rows: i32, columns: i32): void {
  memory.copy(out, x, <usize>columns << 2)
  for (let r = 1; r < rows; r++) {
    x += <usize>columns << 2
    let c = 0
    for (; c + 4 <= columns; c += 4) {
      const at = <usize>c << 2
      v128.store(out + at, arithmetic(kind, v128.load(out + at), v128.load(x + at)))
    }
    for (; c < columns; c++) {
      const at = <usize>c << 2
      store<f32>(out + at, arithmeticOne(kind, load<f32>(out + at), load<f32>(x + at)))
    }
  }
}
