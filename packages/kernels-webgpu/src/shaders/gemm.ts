import { BIAS, dot4, fourCodes, header, PARAMS, tables, wordsPerCode, type ShaderVariant } from './common.js'

/** Results of a workgroup: a square of this side, one a thread. */
export const GEMM_TILE = 16
/** Activation words (four codes each) of a row that are in shared memory at a time. */
const DEPTH = 4

/**
 * A tile of results a workgroup: activations and unpacked codes go through shared memory, each is read by sixteen threads.
 * Groups are padded to sixteen codes, so that a step of {@link DEPTH} words never spans two.
 */
export function gemm(kind: 2 | 4 | 8, paths: ShaderVariant): string {
  const parts = wordsPerCode(kind)
  const words = GEMM_TILE * DEPTH
  return /* wgsl */ `${header({ ...paths, subgroups: false })}${PARAMS}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> codes: array<u32>;
${tables(paths)}
@group(0) @binding(4) var<storage, read> act: array<u32>;
@group(0) @binding(5) var<storage, read> sums: array<i32>;
@group(0) @binding(6) var<storage, read> actScales: array<f32>;
@group(0) @binding(7) var<storage, read> bias: array<f32>;
@group(0) @binding(8) var<storage, read_write> result: array<f32>;
var<workgroup> tileA: array<u32, ${words}>;
var<workgroup> tileW: array<u32, ${words}>;
${dot4(paths)}
${BIAS}
${fourCodes(kind)}
@compute @workgroup_size(${GEMM_TILE}, ${GEMM_TILE})
fn main(@builtin(workgroup_id) id: vec3u, @builtin(local_invocation_id) local: vec3u, @builtin(local_invocation_index) t: u32) {
  let n = id.x * ${GEMM_TILE}u + local.x;
  let m = id.y * ${GEMM_TILE}u + local.y;
  let inside = n < p.n && m < p.m;
  let row = t / ${DEPTH}u;
  let column = t % ${DEPTH}u;
  var y = 0.0;
  for (var g = 0u; g < p.groups; g++) {
    var d = 0i;
    for (var k = 0u; k < p.actWords; k += ${DEPTH}u) {
      if (t < ${words}u) {
        let am = id.y * ${GEMM_TILE}u + row;
        let wn = id.x * ${GEMM_TILE}u + row;
        let word = k + column;
        tileA[t] = select(0u, act[min(am, p.m - 1u) * p.groups * p.actWords + g * p.actWords + word], am < p.m);
        tileW[t] = fourCodes(codes[(min(wn, p.n - 1u) * p.groups + g) * p.codeWords + word / ${parts}u], word % ${parts}u);
      }
      workgroupBarrier();
      for (var i = 0u; i < ${DEPTH}u; i++) { d += dot4(tileA[local.y * ${DEPTH}u + i], tileW[local.x * ${DEPTH}u + i]); }
      workgroupBarrier();
    }
    if (inside) {
      let sum = sums[m * p.groups + g];
      let at = n * p.groups + g;
      var term = f32(d - p.offset * sum);
      if (p.hasZeros != 0u) { term += zeroOf(at) * f32(sum); }
      y += term * scaleOf(at);
    }
  }
  if (inside) { result[m * p.n + n] = withBias(y * actScales[m], n); }
}
`
}
