import { arithmetic, arithmeticOne } from './arithmetic'

/** `x [rows, columns]` with `y`: one value a column (`perRow` false) or one a row. Kinds: add, sub, mul, div, min, max; `swap`: y comes first. */
export function broadcast(kind: i32, x: usize, y: usize, out: usize, rows: i32, columns: i32, perRow: bool, swap: bool): void {
  for (let r = 0; r < rows; r++) {
    const line = (<usize>r * columns) << 2
    const one = load<f32>(y + (perRow ? <usize>r << 2 : 0))
    const splat = f32x4.splat(one)
    let c = 0
    for (; c + 4 <= columns; c += 4) {
      const at = <usize>c << 2
      const p = v128.load(x + line + at)
      const q = perRow ? splat : v128.load(y + at)
      v128.store(out + line + at, swap ? arithmetic(kind, q, p) : arithmetic(kind, p, q))
    }
    for (; c < columns; c++) {
      const at = <usize>c << 2
      const p = load<f32>(x + line + at)
      const q = perRow ? one : load<f32>(y + at)
      store<f32>(out + line + at, swap ? arithmeticOne(kind, q, p) : arithmeticOne(kind, p, q))
    }
  }
}
