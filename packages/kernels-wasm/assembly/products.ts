/**
 * Products of packed panels, for linear algebra in float64: `c[j, i] = Σ_k a[i, k] · b[j, k]` for tiles of 4 × 4. A tile of a
 * panel holds four rows side by side, `[depth][4]`; results lie tile by tile, `[columnTiles][rowTiles][4][4]`.
 *
 * Products and sums are rounded one by one, in the order of k: the same bits on every engine.
 * @param limit with `limit >= 0`, only the first `limit + j` row tiles of column tile j are wanted: the upper half of a square
 */
export function products(a: usize, b: usize, c: usize, rowTiles: i32, columnTiles: i32, depth: i32, limit: i32): void {
  const panel = <usize>depth << 5
  for (let j = 0; j < columnTiles; j++) {
    const wanted = limit < 0 ? rowTiles : min(rowTiles, limit + j)
    let x = a
    let to = c
    for (let i = 0; i < wanted; i++) {
      tile(x, b, to, depth)
      x += panel
      to += 128
    }
    b += panel
    c += <usize>rowTiles << 7
  }
}

function tile(a: usize, b: usize, c: usize, depth: i32): void {
  let s00 = f64x2.splat(0), s01 = f64x2.splat(0), s10 = f64x2.splat(0), s11 = f64x2.splat(0)
  let s20 = f64x2.splat(0), s21 = f64x2.splat(0), s30 = f64x2.splat(0), s31 = f64x2.splat(0)
  for (let p = 0; p < depth; p++) {
    const b0 = v128.load(b), b1 = v128.load(b, 16)
    let x = v128.load64_splat(a)
    s00 = f64x2.add(s00, f64x2.mul(x, b0)), s01 = f64x2.add(s01, f64x2.mul(x, b1))
    x = v128.load64_splat(a, 8)
    s10 = f64x2.add(s10, f64x2.mul(x, b0)), s11 = f64x2.add(s11, f64x2.mul(x, b1))
    x = v128.load64_splat(a, 16)
    s20 = f64x2.add(s20, f64x2.mul(x, b0)), s21 = f64x2.add(s21, f64x2.mul(x, b1))
    x = v128.load64_splat(a, 24)
    s30 = f64x2.add(s30, f64x2.mul(x, b0)), s31 = f64x2.add(s31, f64x2.mul(x, b1))
    a += 32
    b += 32
  }
  v128.store(c, s00), v128.store(c, s01, 16)
  v128.store(c, s10, 32), v128.store(c, s11, 48)
  v128.store(c, s20, 64), v128.store(c, s21, 80)
  v128.store(c, s30, 96), v128.store(c, s31, 112)
}
