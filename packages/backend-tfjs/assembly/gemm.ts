import { KC, MR, NR, packA, packB, panel } from './panels'

/** C[m, n] = A B for each of `batch` stacked matrices; element (i, k) of A lies at i·rsA + k·csA, so that transposing is free. A stride of 0 repeats a matrix. */
export function gemm(a: usize, rsA: i32, csA: i32, b: usize, rsB: i32, csB: i32, c: usize, m: i32, n: i32, k: i32, batch: i32, strideA: i32, strideB: i32, scratch: usize): void {
  const packedB = scratch
  const packedA = packedB + ((<usize>KC * ((n + NR - 1) / NR) * NR) << 2)
  const edge = packedA + (KC * MR << 2)
  for (let s = 0; s < batch; s++) {
    for (let k0 = 0; k0 < k; k0 += KC) {
      const kc = min(KC, k - k0)
      packB(b, rsB, csB, k0, kc, n, packedB)
      for (let i = 0; i < m; i += MR) {
        const height = min(MR, m - i)
        packA(a, rsA, csA, i, height, k0, kc, packedA)
        panel(packedA, packedB, kc, c, i, height, n, edge, k0 > 0)
      }
    }
    a += <usize>strideA << 2
    b += <usize>strideB << 2
    c += (<usize>m * n) << 2
  }
}
